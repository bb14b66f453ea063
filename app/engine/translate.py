"""Turns the target expression into nodes: one pass that checks kinds, units, windows and depth, and shares equals.

A *unit* is the power with which a value follows a split: 1 for prices, -1 for volumes, 0 for pure numbers, None for a
literal, which takes any. It says how a lagged value is restated, and refuses sums of a price and a ratio.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from app.engine.expression import parse_expression
from app.engine.layout import Field, Op
from app.engine.macros import MACROS, Macro, Made
from app.engine.nodes import FIELD_WORDS, MAX_DEPTH, MAX_NODES, MAX_SCAN, WORDS, Argument, Kind, Word
from app.kernel.errors import DomainError, invalid

CONST, FIELD, RETURN, PEER, SELECT, FLAT = Op.CONST, Op.FIELD, Op.RETURN, Op.PEER, Op.SELECT, Op.FLAT
PERCENT_RANK, MUL = Op.PERCENT_RANK, Op.MUL  # by name: a member of an enumeration takes longer to find than to use
_BANDS = {Op.TREND_LINE, Op.TREND_UP}
_SAME_UNIT = {Op.ADD, Op.SUB, Op.MIN, Op.MAX, Op.GT, Op.GE, Op.LT, Op.LE, Op.EQ, Op.NE, Op.SELECT} | _BANDS
_STAYS = {Op.ADD, Op.SUB, Op.MIN, Op.MAX, Op.SELECT, Op.TREND_LINE}
"""Of those whose inputs share a unit, the words that have it too; the others are pure numbers."""
_PRODUCTS = (Op.MUL, Op.DIV)
_OVER_BARS = (Op.RETURN, Op.VOLATILITY)
_MOVING = {Op.EMA, Op.WILDER, Op.HIGHEST, Op.LOWEST, Op.MEAN_DEVIATION}
_KEEPS_UNIT = {Op.SMA, Op.STDDEV, Op.WMA, Op.SLOPE, Op.LAG, Op.NEG, Op.ABS, Op.TREND_LINE} | _MOVING
_PRICES = (Op.OPENING_HIGH, Op.OPENING_LOW, Op.ENTRY_PRICE, Op.TYPICAL, Op.VWAP, Op.PLUS_DM, Op.MINUS_DM)
_OF_BARS = dict.fromkeys(_PRICES, 1) | {Op.OBV: -1, Op.GROWTH: 0}
"""Words without inputs that remember, and how their values follow a split."""
_LOOKBACK = {Op.LAG: 0, Op.PERCENT_RANK: 0, Op.MONTH_CHANGED: 1} | dict.fromkeys(_MOVING, -1)
"""Bars before the first that a word adds to its inputs', beside its window."""
_BEFORE = (Op.PLUS_DM, Op.MINUS_DM)
"""Words without inputs that need the bar before."""
_ANY_NUMBER = {Op.SMA: Op.MEAN, Op.STDDEV: Op.DEVIATION, Op.ZSCORE: Op.ZSCORE}
"""Words exact on fields that take other numbers too, and what computes those."""


class Node(NamedTuple):
    """One instruction; hashed and compared often."""

    op: Op
    inputs: tuple[int, int, int]
    i0: int
    i1: int
    constant: float
    unit: int | None
    kind: Kind
    lookback: int
    reads: tuple[int, ...] = ()
    """Registers; `inputs` may also be bar fields."""


def fault(path: str, reason: str) -> DomainError:
    return invalid("invalid_program", f"{path}: {reason}", param=path)


def _field(value: Any) -> Node | None:
    """The node of a bar field that stands for itself, as {"op": "close"}."""
    name = value.get("op") if isinstance(value, dict) and len(value) == 1 else None
    return _FIELD_NODES.get(name) if isinstance(name, str) else None


_FIELD_NODES = {
    name: Node(FIELD, (int(field), 0, 0), 0, 0, 0.0, -1 if field is Field.VOLUME else 1, "number", 1)
    for name, field in FIELD_WORDS.items()
}


@cache
def _allowed(name: str) -> frozenset[str]:
    """The keys of a word's expression."""
    word = MACROS.get(name) or WORDS[name]
    return frozenset(("op", *(i for i, _ in word.inputs), *(a.name for a in word.arguments)))


def _only(value: Mapping[str, Any], name: str, path: str) -> None:
    allowed = _allowed(name)
    for key in value:
        if key not in allowed:
            raise fault(f"{path}.{key}", f"{name!r} has no such argument")


class Walker:
    """Collects the nodes of one program, in evaluation order; `expression` gives each root its register."""

    def __init__(self, parameters: Mapping[str, int | float]) -> None:
        self.parameters = parameters
        self.nodes: list[Node] = []
        self.known: dict[Node, int] = {}
        self.visited = 0
        self._trees: dict[tuple[str, str], Any] = {}
        self._named: dict[int, tuple[str, ...]] = {}
        self._sharing = False
        self._found: dict[tuple[Any, ...], int] = {}
        self._constants: dict[float, int] = {}
        self._shapes: dict[int, Node] = {}

    def share(self, *trees: Any) -> None:
        """Several programs of these trees come, with other parameters: each part of them is translated once for the
        parameters that it names. The trees must outlive the walker."""
        self._sharing = True
        for tree in trees:
            _names(tree, self._named)

    def tree(self, value: Any, path: str) -> Any:
        """The JSON form of an expression that may be written as a string."""
        if not isinstance(value, str):
            return value
        if (value, path) not in self._trees:
            tree = self._trees[value, path] = parse_expression(value, self.parameters, path)
            if self._sharing:
                self.share(tree)
        return self._trees[value, path]

    def expression(self, value: Any, path: str, wanted: Kind, depth: int = 1) -> int:
        """The register of an expression. Raises `invalid_program`."""
        if not self._sharing:
            return self._expression(value, path, wanted, depth)
        names = self._named.get(id(value))
        if names is None:
            known = self._constants.get(value) if type(value) in (int, float) and wanted == "number" else None
            return self._expression(value, path, wanted, depth) if known is None else known
        key = (id(value), wanted, *map(self.parameters.get, names))
        found = self._found.get(key)
        if found is None:
            shape = self._shapes.get(id(value))
            if shape is not None and shape.kind == wanted:
                found = self._again(shape, value, path)
            else:
                found = self._expression(value, path, wanted, depth)
            self._found[key] = found
        return found

    def _again(self, shape: Node, value: Mapping[str, Any], path: str) -> int:
        """An operation without integers of its own, translated before with other parameters: only its inputs differ."""
        registers = [self.expression(value[key], path, kind) for key, kind in WORDS[value["op"]].inputs]
        a, b, c = (*registers, registers[0], registers[0])[:3]
        lookback = max(self.nodes[register].lookback for register in registers)
        op, i0, i1, unit, kind = shape.op, shape.i0, shape.i1, shape.unit, shape.kind
        return self._node(Node(op, (a, b, c), i0, i1, 0.0, unit, kind, lookback, tuple(registers)))

    def _expression(self, value: Any, path: str, wanted: Kind, depth: int) -> int:
        self.visited += 1
        if depth > MAX_DEPTH:
            raise fault(path, f"nested deeper than {MAX_DEPTH} levels")
        if self.visited > 16 * MAX_NODES:
            raise fault(path, f"more than {16 * MAX_NODES} expressions")
        register = self._any(value, path, depth)
        found = self.nodes[register].kind
        if found != wanted:
            raise fault(path, f"must be a {wanted}, not a {found}")
        return register

    def _any(self, value: Any, path: str, depth: int) -> int:
        if type(value) is not dict:  # as most are; any other mapping is looked for last
            if isinstance(value, Made):
                return value.register
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return self._constant(value, path)
            if not isinstance(value, Mapping):
                raise fault(path, 'must be a number, {"param": name} or {"op": word, …}')
        if "param" in value:
            return self._constant(self._parameter(value, path), path)
        name = value.get("op")
        if isinstance(name, str) and name in MACROS:
            return self._macro(name, MACROS[name], value, path, depth)
        if not isinstance(name, str) or name not in WORDS:
            raise fault(f"{path}.op", f"unknown operation {str(name)[:40]!r}")
        return self._operation(name, WORDS[name], value, path, depth)

    def _constant(self, value: int | float, path: str) -> int:
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if number - number != 0.0:
            raise fault(path, "must be a finite number")
        if number not in self._constants:
            node = Node(CONST, (0, 0, 0), 0, 0, number + 0.0, None, "number", 1)
            self._constants[number] = self._node(node)
        return self._constants[number]

    def _parameter(self, value: Mapping[str, Any], path: str) -> int | float:
        name = value["param"]
        if len(value) != 1 or not isinstance(name, str) or name not in self.parameters:
            raise fault(f"{path}.param", f"unknown parameter {str(name)[:40]!r}")
        return self.parameters[name]

    def _macro(self, name: str, macro: Macro, value: Mapping[str, Any], path: str, depth: int) -> int:
        _only(value, name, path)
        given: dict[str, Any] = {a.name: self._argument(a, value, path) for a in macro.arguments}
        for key, kind in macro.inputs:
            part = value.get(key, macro.defaults.get(key))
            if part is None:
                raise fault(f"{path}.{key}", f"{name!r} needs it")
            given[key] = Made(self.expression(part, f"{path}.{key}", kind, depth + 1))
        try:
            return self._any(macro.expand(**given), path, 1)
        except DomainError as error:
            # The author wrote the macro, not its expansion: name that place.
            raise fault(path, f"{name!r}: {error.message.partition(': ')[2]}") from None

    def _operation(self, name: str, word: Word, value: Mapping[str, Any], path: str, depth: int) -> int:
        _only(value, name, path)
        if (source := _field(value)) is not None:
            return self._node(source)
        numbers = [self._argument(argument, value, path) for argument in word.arguments]
        i0, i1 = (*numbers, 0, 0)[:2]
        if word.op is RETURN and i1 >= i0:
            raise fault(f"{path}.skip", f"must be less than bars ({i0})")
        if word.field_of:
            return self._of_field(name, word, value, i0, i1, path, depth)
        registers = []
        for key, kind in word.inputs:
            if key not in value:
                raise fault(f"{path}.{key}", f"{name!r} needs it")
            registers.append(self.expression(value[key], f"{path}.{key}", kind, depth + 1))
        if word.op in _OF_BARS:
            lookback = max(i0, 2 if word.op in _BEFORE else 1)
            return self._node(Node(word.op, (0, 0, 0), i0, i1, 0.0, _OF_BARS[word.op], word.kind, lookback))
        if word.op is PEER and self.nodes[registers[0]].unit not in (0, None):
            raise fault(f"{path}.of", "must be a ratio or a return: two instruments follow different splits")
        followed = self._unit(word.op, registers, path)
        lookback = max([self.nodes[r].lookback for r in registers], default=1)
        if word.op in _LOOKBACK:
            lookback += i0 + _LOOKBACK[word.op]
        if word.op is PERCENT_RANK:
            i1 = self.nodes[registers[0]].unit or 0  # a rank is a pure number, what it remembers is not
        a, b, c = (*registers, *(registers or [0])[:1] * 3)[:3]
        node = Node(word.op, (a, b, c), i0, i1, 0.0, followed, word.kind, lookback, tuple(registers))
        if registers and not word.arguments and id(value) in self._named:
            self._shapes[id(value)] = node
        return self._node(node)

    def _of_field(
        self, name: str, word: Word, value: Mapping[str, Any], i0: int, i1: int, path: str, depth: int
    ) -> int:
        """A word that is exact on a bar field; some of them take other numbers, too."""
        if "of" not in value:
            raise fault(f"{path}.of", f"{name!r} needs it")
        if (source := _field(value["of"])) is not None:
            return self._window(word, source, i0, i1)
        register = self.expression(value["of"], f"{path}.of", "number", depth + 1)
        if self.nodes[register].op is FIELD:
            return self._window(word, self.nodes[register], i0, i1)
        if word.op not in _ANY_NUMBER:
            raise fault(f"{path}.of", f"{name!r} is exact on bar fields only: one of {', '.join(FIELD_WORDS)}")
        return self._scan(word.op, register, i0, i1, f"{path}.of")

    def _window(self, word: Word, source: Node, i0: int, i1: int) -> int:
        """A word that is exact on a bar field, of that field."""
        unit = source.unit if word.op in _KEEPS_UNIT else 0
        lookback = i0 + 1 if word.op in _OVER_BARS else i0
        return self._node(Node(word.op, (source.inputs[0], 0, 0), i0, i1, 0.0, unit, "number", lookback))

    def _scan(self, op: Op, register: int, window: int, ddof: int, path: str) -> int:
        """The mean, deviation or z-score of what is no field: its window is read anew on every bar."""
        source = self.nodes[register]
        if window > MAX_SCAN:
            where = path.removesuffix("of") + "window"
            raise fault(where, f"must be at most {MAX_SCAN} for a value that is not a bar field")
        if op is Op.ZSCORE:
            value, over = Made(register), {"of": Made(register), "window": window}
            apart = {"op": "sub", "left": value, "right": {"op": "sma", **over}}
            return self._any({"op": "div", "left": apart, "right": {"op": "stddev", **over, "ddof": ddof}}, path, 1)
        lookback = source.lookback + window - 1
        scanned, unit = _ANY_NUMBER[op], source.unit
        node = Node(scanned, (register, 0, 0), window, ddof, 0.0, unit, "number", lookback, (register,))
        return self._node(node)

    def _argument(self, argument: Argument, value: Mapping[str, Any], path: str) -> int:
        where = f"{path}.{argument.name}"
        given = value.get(argument.name, argument.default)
        if given is None:
            raise fault(where, "is missing")
        if type(given) is not int:
            given = self._whole(given, where)
        if argument.name in ("bars", "skip") and given < 0:
            raise fault(where, "must not be negative: it would look ahead")
        if not argument.least <= given <= argument.most:
            raise fault(where, f"must be from {argument.least} to {argument.most}")
        return given

    def _whole(self, given: Any, where: str) -> int:
        """A whole number, or the parameter that is one."""
        if isinstance(given, Mapping):
            given = self._parameter(given, where) if "param" in given else None
        if isinstance(given, float) and given.is_integer():
            given = int(given)
        if isinstance(given, bool) or not isinstance(given, int):
            raise fault(where, "must be a whole number or a parameter")
        return given

    def _unit(self, op: Op, registers: list[int], path: str) -> int | None:
        units = [self.nodes[r].unit for r in (registers[1:] if op is SELECT else registers)]
        if op in _SAME_UNIT:
            known = {unit for unit in units if unit is not None}
            if len(known) > 1:
                raise fault(path, "combines values that follow a split differently (a price, a volume, a ratio)")
            same = next(iter(known), None)
            if op in _BANDS and same not in (1, None):
                raise fault(path, "the bands must be prices")
            return same if op in _STAYS else 0
        if op in _KEEPS_UNIT:
            return units[0]
        if op in _PRODUCTS:
            if units == [None, None]:
                return None
            return (units[0] or 0) + (1 if op is MUL else -1) * (units[1] or 0)
        if op is Op.MOD:
            return units[0]
        if op is Op.SQRT and (units[0] or 0) % 2 == 0:
            return None if units[0] is None else units[0] // 2
        return 0

    def _node(self, node: Node) -> int:
        count = len(self.nodes)
        register = self.known.setdefault(node, count)
        if register == count:
            self.nodes.append(node)
        return register


def _names(value: Any, found: dict[int, tuple[str, ...]]) -> tuple[str, ...]:
    """The parameters that an expression names; into `found`, those of each of its parts by identity."""
    if not isinstance(value, Mapping):
        return ()
    if "param" in value:
        return (str(value["param"]),)
    names = dict.fromkeys(name for part in value.values() for name in _names(part, found))
    found[id(value)] = tuple(names)
    return tuple(names)


def reached(nodes: list[Node], roots: Iterable[int]) -> set[int]:
    """The registers that these depend on, themselves included."""
    found: set[int] = set()
    ahead = list(roots)
    while ahead:
        register = ahead.pop()
        if register not in found:
            found.add(register)
            ahead += nodes[register].reads
    return found


def late_last(nodes: list[Node], roots: Iterable[int]) -> tuple[list[Node], dict[int, int], int]:
    """The nodes that the roots need, those that depend on the position behind the others; new registers by old; how
    many come first."""
    late: set[int] = set()
    used = sorted(reached(nodes, roots))
    for register in used:
        node = nodes[register]
        if node.op >= FLAT or (late and late.intersection(node.reads)):
            late.add(register)
    if not late and len(used) == len(nodes):
        return nodes, {register: register for register in used}, len(nodes)
    order = [*(r for r in used if r not in late), *(r for r in used if r in late)]
    place = {register: at for at, register in enumerate(order)}
    return [moved(nodes[register], place) for register in order], place, len(order) - len(late)


def moved(node: Node, place: Mapping[int, int]) -> Node:
    """A node that finds what it reads in its new places."""
    if not node.reads:
        return node
    a, b, c = (place.get(register, 0) for register in node.inputs)
    return node._replace(inputs=(a, b, c), reads=tuple(place[register] for register in node.reads))
