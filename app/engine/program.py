"""Decides what a strategy program is: a versioned JSON document in, a register program with a digest out.

An expression is a number, `{"param": name}`, or `{"op": word, …}` with the words of `app.engine.nodes`; or a string
that says the same (`app.engine.expression`). Everything is
checked here, before anything runs: size, depth, windows, kinds, units. A refusal is `invalid_program` and names the
JSON path. Equal sub-expressions become one node; the digest is over the register program, so documents that compute
the same have the same digest.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, ValidationError

from app.engine.bars import Int64
from app.engine.expression import parse_expression
from app.engine.layout import ENGINE_VERSION, EXTREME, LIMIT_ORDER, MARKET, SETTING, WINDOW, Op, Rebalance, Setting
from app.engine.nodes import MAX_NODES
from app.engine.translate import Node, translate
from app.kernel.errors import DomainError, invalid

Number = int | float
MAX_NUMBER = 1e15
"""Bound of parameters: every whole number below it is exact as a float."""
Expression = Any
"""JSON: a number, {"param": name}, {"op": …}, or all of it as a string; checked by `compile_program`."""


class MarketOrders(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["market"] = "market"


class LimitOrders(BaseModel):
    """Limits `offset_bps` hundredths of a percent better than the close of the deciding bar."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["limit"]
    offset_bps: int = Field(0, ge=0, le=5000)


class EquitySizing(BaseModel):
    """A full position is the whole equity: the target is the share of it to hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["equity"] = "equity"


class UnitSizing(BaseModel):
    """A full position is `units` whole units of each instrument: the target is the share of them to hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["units"]
    units: StrictInt = Field(ge=1, le=1_000_000_000)


class Document(BaseModel):
    """A strategy program, version 1: for each instrument a target weight, and when to trade towards it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1]
    name: str = Field(min_length=1, max_length=80)
    parameters: dict[str, StrictInt | StrictFloat] = Field(
        default_factory=dict, max_length=64, description="Defaults, by name."
    )
    target: Expression = Field(description="Share of a full position to hold, clipped to 0…1 (long only).")
    sizing: Annotated[EquitySizing | UnitSizing, Field(discriminator="type")] = EquitySizing()
    rebalance: Literal["on_change", "monthly"] = Field(
        description="on_change: when the target differs from the bar before; monthly: at the first bar of each month."
    )
    order: Annotated[MarketOrders | LimitOrders, Field(discriminator="type")] = MarketOrders()
    reserve_bps: int = Field(100, ge=0, le=5000, description="Share of equity and cash left for charges and slippage.")
    tolerance_bps: int = Field(0, ge=0, le=5000, description="Adjustments below this share of the equity are left out.")


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled program: arrays the machine runs, for any number of instruments.

    `code` i8 (nodes, CODE), `constants` f8 (nodes,); per slot `ints` and `floats` numbers of state. `warm_up`: bars
    before the target can be known. `nodes` × bars × instruments is the cost of a run, known before it.
    """

    name: str
    digest: str
    parameters: Mapping[str, Number]
    code: Int64
    constants: npt.NDArray[np.float64]
    target: int
    ints: int
    floats: int
    warm_up: int
    rebalance: Rebalance
    settings: Int64

    @property
    def nodes(self) -> int:
        return len(self.code)

    def cost(self, *, bars: int, instruments: int) -> int:
        """Node evaluations of a run."""
        return bars * instruments * self.nodes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def parse_document(document: Mapping[str, Any]) -> Document:
    """The outer shape. Raises `invalid_program` with the path of the first fault."""
    try:
        return Document.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "program"
        raise refused(path, first["msg"]) from None


def refused(path: str, reason: str) -> DomainError:
    return invalid("invalid_program", f"{path}: {reason}", param=path)


def compile_program(document: Mapping[str, Any] | Document, parameters: Mapping[str, Number] | None = None) -> Program:
    """Check and translate. `parameters` override the document's defaults by name. Raises `invalid_program`."""
    parsed = document if isinstance(document, Document) else parse_document(document)
    values: dict[str, Number] = dict(parsed.parameters)
    for name, value in (parameters or {}).items():
        if name not in values:
            known = ", ".join(sorted(values)) or "none"
            raise refused(f"parameters.{name}", f"the program has no such parameter (it has: {known})")
        values[name] = value
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not -MAX_NUMBER < value < MAX_NUMBER:
            raise refused(f"parameters.{name}", "must be a number of moderate size")
    target_tree = parsed.target
    if isinstance(target_tree, str):
        target_tree = parse_expression(target_tree, values, "target")
    nodes, target = translate(target_tree, values)
    if len(nodes) > MAX_NODES:
        raise refused("target", f"{len(nodes)} nodes; at most {MAX_NODES} are allowed")
    return _assemble(parsed, values, nodes, target)


def _assemble(document: Document, values: Mapping[str, Number], nodes: list[Node], target: int) -> Program:
    rows, ints, floats = [], 0, 0
    for node in nodes:
        rows.append([node.op, *node.inputs, node.i0, node.i1, ints, floats, node.unit or 0])
        match node.op:
            case Op.SMA | Op.STDDEV | Op.ZSCORE:
                ints += WINDOW + node.i0
            case Op.RETURN:
                ints += WINDOW + node.i0 + 1
            case Op.LAG:
                ints, floats = ints + 2, floats + node.i0
            case Op.LATCH:
                ints += 1
            case Op.MONTH_CHANGED:
                ints += 2
            case Op.EMA | Op.WILDER:
                ints, floats = ints + 1, floats + 1
            case Op.HIGHEST | Op.LOWEST:
                ints, floats = ints + EXTREME + node.i0, floats + node.i0
    constants = [node.constant for node in nodes]
    settings = np.zeros(SETTING, np.int64)
    settings[Setting.RESERVE_BPS], settings[Setting.TOLERANCE_BPS] = document.reserve_bps, document.tolerance_bps
    settings[Setting.ORDER_TYPE] = MARKET
    if isinstance(document.order, LimitOrders):
        settings[Setting.ORDER_TYPE], settings[Setting.OFFSET_BPS] = LIMIT_ORDER, document.order.offset_bps
    if isinstance(document.sizing, UnitSizing):
        settings[Setting.UNITS] = document.sizing.units
    rule = Rebalance[document.rebalance.upper()]
    canonical = {
        "engine": ENGINE_VERSION,
        "code": [[int(cell) for cell in row] for row in rows],
        "constants": [value.hex() for value in constants],
        "target": target,
        "rebalance": int(rule),
        "settings": settings.tolist(),
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return Program(
        name=document.name,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        parameters=dict(values),
        code=np.array(rows, dtype=np.int64),
        constants=np.array(constants, dtype=np.float64),
        target=target,
        ints=max(ints, 2),
        floats=max(floats, 1),
        warm_up=nodes[target].lookback,
        rebalance=rule,
        settings=settings,
    )
