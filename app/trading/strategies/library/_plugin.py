"""What a library strategy is: data, and one pure function that writes its program."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from app.kernel.errors import invalid


class Parameters(BaseModel):
    """Base of every parameter model: unknown names are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class LibraryStrategy(Generic[P]):
    """`reference` cites the paper. `write` turns parameters and the number of instruments into a program document.

    `least` and `most`: how many instruments it trades. `intraday`: it needs bars within the day.
    """

    name: str
    title: str
    reference: str
    parameters: type[P]
    write: Callable[[P, int], dict[str, Any]]
    least: int = 1
    most: int | None = None
    intraday: bool = False

    def parse(self, values: dict[str, Any]) -> P:
        """Raises `invalid_parameters` naming the field."""
        try:
            return self.parameters.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = ".".join(["parameters", *(str(part) for part in first["loc"])])
            raise invalid("invalid_parameters", f"{path}: {first['msg']}", param=path) from None

    def build(self, parameters: P, n_instruments: int) -> dict[str, Any]:
        """The program document for `n_instruments` that share the equity equally."""
        if n_instruments < self.least or n_instruments > (self.most or n_instruments):
            number = f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"
            reason = f"{self.name} takes {number} instruments, not {n_instruments}."
            raise invalid("invalid_parameters", reason, param="instruments")
        return self.write(parameters, n_instruments)
