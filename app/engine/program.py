"""Decides what a strategy program is: a document in (`app.engine.document`), a register program with a digest out.

An expression is a number, `{"param": name}`, or `{"op": word, …}` with the words of `app.engine.nodes`; or a string
that says the same (`app.engine.expression`). Everything is checked here, before anything runs: size, depth, windows,
kinds, units. A refusal is `invalid_program` and names the JSON path. Equal sub-expressions become one node; the digest
is over the register program, so documents that compute the same have the same digest.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.engine.bars import Int64
from app.engine.columns import (
    LIMIT_ORDER,
    MARKET,
    SETTING,
    SETTINGS_OF_PROGRAM,
    STOP_LIMIT,
    STOP_ORDER,
    Setting,
    Sizing,
    Validity,
)
from app.engine.document import (
    CashSizing,
    Distance,
    Document,
    EquitySizing,
    LimitExit,
    LimitOrders,
    MarketEntry,
    RiskSizing,
    Rule,
    StopLimitEntry,
    Trades,
    UnitSizing,
    VolatilitySizing,
    parse_document,
    refused,
)
from app.engine.encoding import encode, gated
from app.engine.layout import ENGINE_VERSION, OUTPUT, OUTPUTS_OF_PROGRAM, Output, Rebalance
from app.engine.nodes import MAX_NODES, Kind
from app.engine.translate import PEER, Walker, late_last, reached

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
Number = int | float
MAX_NUMBER = 1e15
"""Bound of parameters: every whole number below it is exact as a float."""
_ENTRIES = {"market": MARKET, "limit": LIMIT_ORDER, "stop": STOP_ORDER, "stop_limit": STOP_LIMIT}
_VALID = {"bar": Validity.BAR, "day": Validity.DAY, "till_cancelled": Validity.TILL_CANCELLED}
_PROTECTION = {"stop_loss": Output.STOP, "take_profit": Output.TAKE, "trailing_stop": Output.TRAIL}
_RELATIVE = {
    "stop_loss": Setting.STOP_RELATIVE,
    "take_profit": Setting.TAKE_RELATIVE,
    "trailing_stop": Setting.TRAIL_RELATIVE,
}


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled program: arrays the machine runs, for any number of instruments.

    `code` i8 (nodes, CODE), `constants` f8 (nodes,); per slot `ints` and `floats` numbers of state. The first `early`
    nodes depend on bars alone, the others on the position too. A program of trades says its `outputs` i8 (OUTPUT,),
    one of targets `target` and, for a rule, `when` (registers; -1: none). Nodes from `sparse` on are computed only
    where the rule holds. `warm_up`: bars before anything can be known. `instruments`: the fewest a run may have.
    `nodes` × bars × instruments is the cost of a run, known before it.
    """

    name: str
    digest: str
    parameters: Mapping[str, Number]
    code: Int64
    constants: npt.NDArray[np.float64]
    early: int
    target: int
    when: int
    sparse: int
    outputs: Int64
    ints: int
    floats: int
    warm_up: int
    instruments: int
    rebalance: Rebalance
    settings: Int64

    @property
    def nodes(self) -> int:
        return len(self.code)

    @property
    def rule(self) -> int:
        """When to trade, as the kernels take it: the register of a condition, or a negative number."""
        return self.when if self.when >= 0 else -1 - int(self.rebalance)

    @property
    def gate(self) -> int:
        """The register of the condition at which alone nodes from `sparse` on are computed; -1: there are none."""
        return self.when if self.sparse < self.nodes else -1

    @property
    def trades(self) -> bool:
        """It says entries and exits, not targets."""
        return self.target < 0

    @property
    def live(self) -> bool:
        """Deployments can run it: they know long targets of bars, and not yet trades, shorts or the position."""
        at_fill, short = self.settings[Setting.AT_FILL], self.settings[Setting.SHORT]
        return not self.trades and self.early == self.nodes and at_fill == 0 and short == 0

    def cost(self, *, bars: int, instruments: int) -> int:
        """Node evaluations of a run."""
        return bars * instruments * self.nodes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def compile_program(document: Mapping[str, Any] | Document, parameters: Mapping[str, Number] | None = None) -> Program:
    """Check and translate. `parameters` override the document's defaults by name. Raises `invalid_program`."""
    parsed = document if isinstance(document, Document) else parse_document(document)
    compiler = Compiler(parsed, values_of(parsed, parameters))
    compiler.read()
    return compiler.program()


def values_of(document: Document, parameters: Mapping[str, Number] | None) -> dict[str, Number]:
    """The document's parameters with those given in their place. Raises `invalid_program`."""
    values: dict[str, Number] = dict(document.parameters)
    for name, value in (parameters or {}).items():
        if name not in values:
            known = ", ".join(sorted(values)) or "none"
            raise refused(f"parameters.{name}", f"the program has no such parameter (it has: {known})")
        values[name] = value
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not -MAX_NUMBER < value < MAX_NUMBER:
            raise refused(f"parameters.{name}", "must be a number of moderate size")
    return values


class Compiler:
    """Checks and translates one document. Given another's `walker`, its equal expressions become that one's nodes."""

    def __init__(self, document: Document, values: Mapping[str, Number], walker: Walker | None = None) -> None:
        self.document, self.values = document, values
        self.walker = walker or Walker(values)
        self.walker.parameters = values
        self.roots: dict[str, int] = {}
        self.outputs: dict[Output, int] = {}
        self.settings = [0] * SETTING
        self._many = False

    def root(self, tree: Any, path: str, kind: Kind = "number", unit: int | None = None) -> int:
        """The register of one expression; `unit` 1: it must be a price."""
        register = self.walker.expression(self.walker.tree(tree, path), path, kind)
        if unit is not None and self.walker.nodes[register].unit not in (unit, None):
            raise refused(path, "must be a price or a distance of prices")
        return register

    def read(self, values: Mapping[str, Number] | None = None) -> None:
        """The roots and settings of the whole document, with other values if given. Raises `invalid_program`."""
        if values is not None:
            self.values = self.walker.parameters = values
        self.walker.visited = 0
        if self.document.trades is None:
            self.targets()
        else:
            self.entries(self.document.trades)
        self._sizing()
        # The first reading visits every expression: where they are few, no set of values makes more nodes of them.
        self._many = self._many or self.walker.visited > MAX_NODES
        used = len(reached(self.walker.nodes, self.used())) if self._many else 0
        if used > MAX_NODES:
            place = "target" if self.document.trades is None else "trades"
            raise refused(place, f"{used} nodes; at most {MAX_NODES} are allowed")

    def used(self) -> list[int]:
        """The registers of the roots."""
        return [*self.roots.values(), *self.outputs.values()]

    def targets(self) -> None:
        document = self.document
        if isinstance(document.rebalance, Rule):  # first: what the target ranks is ranked only where it holds
            self.roots["when"] = self.root(document.rebalance.when, "rebalance.when", "condition")
        self.roots["target"] = self.root(self._sized(document.target, "target"), "target")
        if isinstance(document.sizing, RiskSizing):
            raise refused("sizing", "risk sizing needs trades with a stop-loss")
        self.settings[Setting.ORDER_TYPE] = MARKET
        if isinstance(document.order, LimitOrders):
            self.settings[Setting.ORDER_TYPE], self.settings[Setting.OFFSET_BPS] = (
                LIMIT_ORDER,
                document.order.offset_bps,
            )
        self.settings[Setting.SHORT] = document.short

    def entries(self, trades: Trades) -> None:
        if isinstance(self.document.order, LimitOrders):
            raise refused("order", "trades say their order as trades.entry")
        sides = {"long": (trades.long, Output.ENTER_LONG), "short": (trades.short, Output.ENTER_SHORT)}
        for name, (side, enter) in sides.items():
            if side is None:
                continue
            self.outputs[enter] = self.root(side.enter, f"trades.{name}.enter", "condition")
            if side.exit is not None:
                self.outputs[Output(enter + 1)] = self.root(side.exit, f"trades.{name}.exit", "condition")
        self.outputs[Output.SHARE] = self.root(self._sized(trades.share, "trades.share"), "trades.share")
        entry = trades.entry
        self.settings[Setting.ORDER_TYPE] = _ENTRIES[entry.type]
        if not isinstance(entry, MarketEntry):
            self.outputs[Output.PRICE] = self.root(entry.price, "trades.entry.price", unit=1)
            self.settings[Setting.VALIDITY] = _VALID[entry.valid]
        if isinstance(entry, StopLimitEntry):
            self.outputs[Output.LIMIT] = self.root(entry.limit, "trades.entry.limit", unit=1)
        if isinstance(trades.exit_order, LimitExit):
            self._exit_order(trades.exit_order)
        for name, output in _PROTECTION.items():
            self._protection(name, output, getattr(trades, name))
        self.settings[Setting.TIME_EXIT] = trades.time_exit or 0
        self.settings[Setting.SHORT] = trades.short is not None
        if isinstance(self.document.sizing, RiskSizing) and not {Output.STOP, Output.TRAIL} & set(self.outputs):
            raise refused("sizing", "risk sizing needs a stop_loss or a trailing_stop")

    def _exit_order(self, order: LimitExit) -> None:
        if not {Output.EXIT_LONG, Output.EXIT_SHORT} & set(self.outputs):
            raise refused("trades.exit_order", "a limit needs a condition: say trades.long.exit or trades.short.exit")
        self.outputs[Output.EXIT_PRICE] = self.root(order.price, "trades.exit_order.price", unit=1)
        self.settings[Setting.EXIT_TYPE], self.settings[Setting.EXIT_VALIDITY] = LIMIT_ORDER, _VALID[order.valid]

    def _protection(self, name: str, output: Output, given: Distance | None) -> None:
        if given is None:
            return
        if given.percent is not None:
            self.outputs[output] = self.root(given.percent, f"trades.{name}.percent")
            self.settings[_RELATIVE[name]] = 1
        else:
            self.outputs[output] = self.root(given.distance, f"trades.{name}.distance", unit=1)

    def _sized(self, share: Any, path: str) -> Any:
        """The share of a full position, with what a volatility target makes of it."""
        sizing = self.document.sizing
        if not isinstance(sizing, VolatilitySizing):
            return share
        share = self.walker.tree(share, path)
        found = {"op": "volatility", "of": {"op": "close"}, "window": sizing.window, "periods": sizing.periods}
        ratio = {"op": "div", "left": sizing.target, "right": found}
        return {"op": "mul", "left": share, "right": {"op": "min", "left": 1, "right": ratio}}

    def _sizing(self) -> None:
        sizing = self.document.sizing
        self.settings[Setting.RESERVE_BPS] = self.document.reserve_bps
        self.settings[Setting.TOLERANCE_BPS] = self.document.tolerance_bps
        match sizing:
            case UnitSizing():
                self.settings[Setting.UNITS] = sizing.units
            case CashSizing():
                self.settings[Setting.AMOUNT], self.settings[Setting.SIZING] = sizing.cash, Sizing.CASH
            case RiskSizing():
                self.settings[Setting.AMOUNT], self.settings[Setting.SIZING] = sizing.risk_bps * 100, Sizing.RISK
            case EquitySizing(at="fill"):
                self.settings[Setting.AT_FILL] = 1

    @property
    def rebalance(self) -> Rebalance:
        rule = self.document.rebalance
        return Rebalance[rule.upper()] if isinstance(rule, str) else Rebalance.WHEN

    def program(self) -> Program:
        """What was read, as a program of its own."""
        nodes, place, early = late_last(self.walker.nodes, self.used())
        used = [place[register] for register in self.used()]
        code, ints, floats = encode(nodes, used)
        roots = {name: place[register] for name, register in self.roots.items()}
        outputs = [-1] * OUTPUT
        for output, register in self.outputs.items():
            outputs[output] = place[register]
        constants = [node.constant for node in nodes]
        canonical = {
            "engine": ENGINE_VERSION,
            "code": code,
            "constants": [value.hex() for value in constants],
            "target": roots.get("target", -1),
            "rebalance": int(self.rebalance),
            "settings": self._settings(),
        }
        if len(roots) != 1:  # what older documents cannot say adds to the digest only where it is said
            said = OUTPUT if max(outputs[OUTPUTS_OF_PROGRAM:]) >= 0 else OUTPUTS_OF_PROGRAM
            canonical |= {"when": roots.get("when", -1), "outputs": outputs[:said]}
        text = _CANONICAL.encode(canonical)
        warm_up, sparse = max(nodes[register].lookback for register in used), len(nodes)
        if "when" in roots and early == len(nodes):
            nodes, place, sparse = gated(nodes, [roots["target"]], roots["when"])
        if sparse < len(nodes):
            roots = {name: place[register] for name, register in roots.items()}
            code, ints, floats = encode(nodes, [], sparse)
            constants, early = [node.constant for node in nodes], len(nodes)
        return Program(
            name=self.document.name,
            digest=hashlib.sha256(text.encode()).hexdigest(),
            parameters=dict(self.values),
            code=np.array(code, dtype=np.int64),
            constants=np.array(constants, dtype=np.float64),
            early=early,
            target=roots.get("target", -1),
            when=roots.get("when", -1),
            sparse=sparse,
            outputs=np.array(outputs, np.int64),
            ints=max(ints, 2),
            floats=max(floats, 1),
            warm_up=warm_up,
            instruments=max((node.i0 for node in nodes if node.op is PEER), default=1),
            rebalance=self.rebalance,
            settings=np.array(self.settings, np.int64),
        )

    def _settings(self) -> list[int]:
        """The settings without the zeros at the end that say nothing."""
        size = SETTING
        while size > SETTINGS_OF_PROGRAM and self.settings[size - 1] == 0:
            size -= 1
        return [int(value) for value in self.settings[:size]]
