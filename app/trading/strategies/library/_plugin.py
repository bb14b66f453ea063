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
    """`reference` cites the paper. `write` turns parameters and the number of instruments into a program document."""

    name: str
    title: str
    reference: str
    parameters: type[P]
    write: Callable[[P, int], dict[str, Any]]

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
        if n_instruments < 1:
            raise invalid("invalid_parameters", "A strategy needs at least one instrument.", param="instruments")
        return self.write(parameters, n_instruments)
