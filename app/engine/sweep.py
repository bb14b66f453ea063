"""Runs one document with many sets of parameters: what several of them compute is computed once.

Sets are taken in lots. The programs of a lot share their nodes, whose columns are computed over all rows; then each is
simulated on its own account, by the kernels of the backtest: the same fills and the same curve. A program that reads
its position, or whose columns alone are too large to keep, is backtested by itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from pydantic import BaseModel

from app.engine.bars import AnyEvent, Bars, Int64, SessionClose
from app.engine.document import Document, parse_document
from app.engine.encoding import encode, gated
from app.engine.fills import NO_SLIPPAGE, SlippageModel
from app.engine.instruments import Instrument
from app.engine.layout import OUTPUT, Op
from app.engine.program import Compiler, Number, Program, compile_program, values_of
from app.engine.schedule import Schedule
from app.engine.simulation import Run
from app.engine.terms import CASH_ACCOUNT, Terms
from app.engine.translate import Walker, late_last
from app.kernel.errors import DomainError

KEPT = 2**26
"""Bytes of columns that a lot may fill."""
SETS = 512
"""Sets of a lot."""
_NOTHING = np.full(OUTPUT, -1, np.int64)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one set gave: `equity` i8 (rows,) and `cash` in minor units, the number of `fills`, the `charges` in all."""

    document: Document
    parameters: Mapping[str, Number]
    equity: Int64
    cash: int
    fills: int
    charges: int

    @property
    def digest(self) -> str:
        """Of the program, as its own backtest has it."""
        return compile_program(self.document, self.parameters).digest


def sweep(
    document: Mapping[str, object] | Document,
    sets: Iterable[Mapping[str, Number]],
    bars: Bars,
    *,
    instruments: Sequence[Instrument],
    cash: int,
    schedule: Schedule,
    slippage: SlippageModel = NO_SLIPPAGE,
    terms: Terms = CASH_ACCOUNT,
    events: Iterable[AnyEvent] = (),
    sessions: Iterable[SessionClose] | None = None,
    trade_from: int = 0,
) -> Iterator[Trial]:
    """One trial per set, in their order; memory does not grow with their number. Arguments and errors are those of
    `simulation.backtest`; `invalid_program` and `too_few_bars` come with the set that they are of."""
    parsed = document if isinstance(document, Document) else parse_document(document)
    held = None if sessions is None else list(sessions)
    account = {
        "instruments": instruments, "cash": cash, "schedule": schedule, "slippage": slippage, "terms": terms,
        "events": list(events), "sessions": held, "trade_from": trade_from,
    }  # fmt: skip
    ahead = iter(sets)
    first = next(ahead, None)
    while first is not None:
        lone = compile_program(parsed, first)
        per_node = 9 * len(instruments) * bars.rows
        rest = chain((first,), ahead)
        if lone.early < lone.nodes or lone.nodes * per_node > KEPT:
            yield from _each(parsed, rest, bars, account)
            return
        lot = _Lot(parsed, rest, KEPT // per_node, bars.rows)
        yield from _lot(lot, bars, account)
        first = next(ahead, None) if lot.refused is None else lot.refused


def _each(
    document: Document, sets: Iterator[Mapping[str, Number]], bars: Bars, account: dict[str, Any]
) -> Iterator[Trial]:
    for values in sets:
        run = Run(compile_program(document, values), bars, block=None, **account)
        for start in range(0, bars.rows, run.size):
            run.block(start, min(start + run.size, bars.rows))
        yield Trial(document, values, run.equity, int(run.cash[0]), len(run.fills), int(run.totals.sum()))


@dataclass(frozen=True, slots=True)
class _Member:
    """One set's part of a lot: its registers, as `Program` has them."""

    parameters: Mapping[str, Number]
    target: int
    rule: int
    outputs: Int64


class _Lot:
    """As many sets as share so many nodes, and one program of all their nodes. A set that cannot run ends the lot, and
    stands in `refused`, but for the first, which raises why."""

    def __init__(self, document: Document, sets: Iterator[Mapping[str, Number]], most: int, rows: int) -> None:
        self.document = document
        self.members: list[_Member] = []
        self.refused: Mapping[str, Number] | None = None
        walker, gates, used, warm_up = Walker({}), set(), set(), 1
        walker.share(*_expressions(document))
        compiler = Compiler(document, values_of(document, None), walker)
        for values in sets:
            try:
                compiler.read(values_of(document, values))
            except DomainError:
                if not self.members:
                    raise
                self.refused = values
                break
            registers = compiler.used()
            lookback = max([walker.nodes[register].lookback for register in registers])
            if self.members and lookback > rows:
                self.refused = values
                break
            self.members.append(_member(compiler, values))
            gates.add(compiler.roots.get("when", -1))
            used.update(registers)
            warm_up = max(warm_up, lookback)
            if len(walker.nodes) >= most or len(self.members) == SETS:
                break
        nodes, place, _ = late_last(walker.nodes, used)
        roots = [place[register] for register in used]
        gate = place.get(gates.pop(), -1) if len(gates) == 1 else -1
        self.members = [_placed(member, place) for member in self.members]
        sparse = len(nodes)
        if gate >= 0:
            nodes, place, sparse = gated(nodes, [member.target for member in self.members], gate)
            self.members = [_placed(member, place) for member in self.members]
            roots, gate = [place[register] for register in roots], place[gate]
        code, ints, floats = encode(nodes, roots, sparse)
        self.program = Program(
            name=document.name, digest="", parameters={}, code=np.array(code, np.int64),
            constants=np.array([node.constant for node in nodes], np.float64), early=len(nodes), target=-1, when=gate,
            sparse=sparse, outputs=_NOTHING.copy(), ints=max(ints, 2), floats=max(floats, 1), warm_up=warm_up,
            instruments=max((node.i0 for node in nodes if node.op is Op.PEER), default=1),
            rebalance=compiler.rebalance, settings=np.array(compiler.settings, np.int64),
        )  # fmt: skip


def _expressions(part: BaseModel) -> Iterator[object]:
    """What a document says in its parts, expressions among it."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _expressions(value)
        else:
            yield value


def _member(compiler: Compiler, values: Mapping[str, Number]) -> _Member:
    when = compiler.roots.get("when", -1)
    rule = when if when >= 0 else -1 - compiler.rebalance
    if "target" in compiler.roots:
        return _Member(values, compiler.roots["target"], rule, _NOTHING)
    outputs = _NOTHING.copy()
    for output, register in compiler.outputs.items():
        outputs[output] = register
    return _Member(values, -1, rule, outputs)


def _placed(member: _Member, place: Mapping[int, int]) -> _Member:
    """The member with its registers where the lot's program has them."""
    if member.target >= 0:
        rule = place.get(member.rule, member.rule)
        return _Member(member.parameters, place[member.target], rule, member.outputs)
    outputs = np.array([place.get(register, -1) for register in member.outputs.tolist()], np.int64)
    return _Member(member.parameters, -1, member.rule, outputs)


def _lot(lot: _Lot, bars: Bars, account: dict[str, Any]) -> Iterator[Trial]:
    run = Run(lot.program, bars, block=bars.rows, **account)
    run.advance(0, bars.rows)
    outputs = lot.program.outputs
    for member in lot.members:
        outputs[:] = member.outputs
        fills = run.again(member.target, member.rule)
        cash, charges = int(run.cash[0]), sum(run.totals.tolist())
        yield Trial(lot.document, member.parameters, run.equity.copy(), cash, fills, charges)
