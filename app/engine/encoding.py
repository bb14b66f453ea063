"""Decides the rows of a program's code: the order of its nodes, where each keeps its state, which of them need not be
computed for every row and every instrument.
"""

from collections.abc import Sequence

from app.engine.layout import BEFORE, EXTREME, RAMP, SESSION, WINDOW, Op, Shared
from app.engine.translate import Node, moved, reached

_STATE: dict[Op, tuple[int, int, int, int]] = {
    **dict.fromkeys((Op.SMA, Op.STDDEV, Op.ZSCORE), (WINDOW, 1, 0, 0)),
    Op.RETURN: (WINDOW + 1, 1, 0, 0),
    Op.LAG: (2, 0, 0, 1),
    Op.LATCH: (1, 0, 0, 0),
    **dict.fromkeys((Op.MONTH_CHANGED, Op.BAR_OF_DAY), (2, 0, 0, 0)),
    **dict.fromkeys((Op.EMA, Op.WILDER), (1, 0, 1, 0)),
    **dict.fromkeys((Op.HIGHEST, Op.LOWEST), (EXTREME, 1, 0, 1)),
    **dict.fromkeys((Op.WMA, Op.SLOPE), (RAMP, 1, 0, 0)),
    **dict.fromkeys((Op.MEAN, Op.MEAN_DEVIATION, Op.DEVIATION, Op.PERCENT_RANK), (2, 0, 0, 1)),
    **dict.fromkeys((Op.TREND_LINE, Op.TREND_UP), (2, 0, 3, 0)),
    Op.GROWTH: (1, 0, 1, 0),
    Op.VWAP: (SESSION, 0, 0, 0),
    **dict.fromkeys((Op.OBV, Op.PLUS_DM, Op.MINUS_DM), (BEFORE, 0, 0, 0)),
    Op.VOLATILITY: (3, 0, 0, 1),
    **dict.fromkeys((Op.OPENING_HIGH, Op.OPENING_LOW), (3, 0, 0, 0)),
}
"""State of an operation: integers, integers for each bar of its window, floats, floats for each bar."""


_CONST, _OWN = Op.CONST, int(Shared.NO)
_THIN = {op for op in Op if Op.ADD <= op <= Op.SELECT} | {Op.RANK, Op.RETURN}
"""Words that can be computed at some rows only."""


def gated(nodes: list[Node], roots: Sequence[int], gate: int) -> tuple[list[Node], dict[int, int], int]:
    """The nodes with those last that the roots need only where the condition in register `gate` holds; new registers by
    old; how many come first: all, where a root is no such node. What the last read of the first is gathered for them.

    Neither the condition nor anything that remembers its bars, but for a return of a field, may depend on them.
    """
    dense = [r for r, n in enumerate(nodes) if (n.op in _STATE or n.op is Op.PEER) and n.op is not Op.RETURN]
    always = reached(nodes, [gate, *dense])
    if always.intersection(roots) or not all(nodes[register].op in _THIN for register in roots):
        return nodes, {register: register for register in range(len(nodes))}, len(nodes)
    thin = [r for r in sorted(reached(nodes, roots) - always) if nodes[r].op in _THIN]
    gathered = sorted({read for register in thin for read in nodes[register].reads} - set(thin))
    columns = [r for r in gathered if nodes[r].op is not _CONST]
    first = sorted(always | reached(nodes, columns))
    place = {register: at for at, register in enumerate(first)}
    source = {r: at for at, r in enumerate([*gathered, *thin], len(first))}
    copies = [_gather(nodes[r], place[r]) if r in columns else nodes[r] for r in gathered]
    found = [moved(nodes[r], place) for r in first] + copies + [moved(nodes[r], source) for r in thin]
    return found, place | {r: source[r] for r in thin}, len(first)


def _gather(node: Node, register: int) -> Node:
    return node._replace(op=Op.GATHER, inputs=(register, register, register), i0=0, i1=0, reads=(register,))


_DATES = {Op.MONTH, Op.DAY, Op.WEEKDAY, Op.DATE_NUMBER}


def _scopes(nodes: list[Node], roots: Sequence[int], dense: int) -> list[int]:
    """What depends on the date alone is the same for every instrument; nodes from `dense` on are each one's own."""
    if not any(node.op in _DATES for node in nodes):
        return [_OWN] * len(nodes)
    dated: set[int] = set()
    for register, node in enumerate(nodes[:dense]):
        plain = node.op not in _STATE and node.op not in (Op.PEER, Op.RANK)
        known = {read for read in node.reads if nodes[read].op is not _CONST}
        if node.op in _DATES or (plain and known and known <= dated):
            dated.add(register)
    read = {*roots, *(read for register, node in enumerate(nodes) if register not in dated for read in node.reads)}
    scopes = (Shared.YES if register in read else Shared.WITHIN for register in range(len(nodes)))
    return [int(scope if register in dated else Shared.NO) for register, scope in enumerate(scopes)]


def encode(nodes: list[Node], roots: Sequence[int], dense: int | None = None) -> tuple[list[list[int]], int, int]:
    """Rows of `layout.Code`, and how many integers and floats of state they need. Nodes from `dense` on are gated."""
    rows, ints, floats = [], 0, 0
    for node, scope in zip(nodes, _scopes(nodes, roots, len(nodes) if dense is None else dense), strict=True):
        rows.append([int(node.op), *node.inputs, node.i0, node.i1, ints, floats, node.unit or 0, scope])
        if node.op in _STATE:
            fixed, each, held, per_bar = _STATE[node.op]
            ints, floats = ints + fixed + each * node.i0, floats + held + per_bar * node.i0
    return rows, ints, floats
