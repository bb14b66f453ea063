"""No new risk in instruments that may not be traded. Reductions pass."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.events import public_id
from app.kernel.ids import encode_id
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`instruments`: ids, ins_…; those of all levels add up."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    instruments: tuple[Annotated[str, Field(pattern=public_id("ins"))], ...] = Field(default=(), max_length=500)


class RestrictedList:
    """By the instrument's id."""

    name = "restricted_list"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"instruments": Tighter.ALL}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if not parameters.instruments:
            return None
        asked = exposure.instrument_id
        listed = asked is None or encode_id("ins", asked) in parameters.instruments
        return finding(
            self.name,
            listed and not exposure.reduces,
            limit="not listed",
            value="listed" if listed else "not listed",
            message="The instrument is on a restricted list; only positions in it can be reduced.",
        )


PLUGIN = RestrictedList()
