"""Draws a heat map as SVG, once for a wide page and once for a narrow one: a cell per combination of two parameters,
coloured by the metric, the best one framed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

TOP, RIGHT, SCALE_STEPS = 8, 8, 20
_SHORTEST, _HIGHEST, _READABLE = 14.0, 44.0, 20.0
"""Heights of a cell: the least, the most, and from which on its value is written into it."""

Cells = Sequence[Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class _Form:
    """`labels`: how many stand along a side; `written`: the width of a cell from which on its value is written."""

    css: str
    left: int
    width: int
    height: int
    labels: int
    written: int
    scale: int


_FORMS = (_Form("wide", 84, 1020, 460, 14, 44, 200), _Form("narrow", 52, 420, 340, 7, 36, 110))


def heat_chart(drawn: dict[str, Any], cells: Cells, *, name: str, percent: bool) -> str:
    """SVGs of one table of a result's `heat_map`; the page shows the one that fits. The deepest colour is the highest
    value."""
    if all(value is None for row in cells for value in row):
        return "<p>No combination has this metric.</p>"
    return "".join(
        f'<div class="{form.css}">{_svg(form, drawn, cells, name=name, percent=percent)}</div>' for form in _FORMS
    )


def _svg(form: _Form, drawn: dict[str, Any], cells: Cells, *, name: str, percent: bool) -> str:
    known = [value for row in cells for value in row if value is not None]
    low, high = min(known), max(known)
    across, up = drawn["x"]["cells"], drawn["y"]["cells"] if drawn["y"] else [[0, 0]]
    wide = (form.width - form.left - RIGHT) / len(across)
    tall = max(_SHORTEST, min(wide, form.height / len(up), _HIGHEST))
    bottom = TOP + tall * len(up)
    parts: list[str] = []
    framed = ""
    for j, row in enumerate(cells):
        y = bottom - tall * (j + 1)
        for i, value in enumerate(row):
            if value is None:
                continue
            x, share = form.left + wide * i, (value - low) / (high - low) if high > low else 0.5
            shape = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
            title = f"<title>{_place(drawn, i, j)}: {shown(value, percent)}</title>" if form.css == "wide" else ""
            parts.append(f'<rect class="cell" {shape} style="--s:{share * 100:.0f}%">{title}</rect>')
            if value == high and not framed:
                framed = f'<rect class="frame" {shape}/>'
            if wide >= form.written and tall >= _READABLE:
                parts.append(
                    f'<text class="value{" high" if share > 0.7 else ""}" x="{x + wide / 2:.1f}" '
                    f'y="{y + tall / 2 + 4:.1f}" text-anchor="middle">{shown(value, percent)}</text>'
                )
    parts += _labels(form, across, up if drawn["y"] else [], wide, tall, bottom)
    sides = f'<text class="side" x="{form.left}" y="{bottom + 38:.0f}">{escape(drawn["x"]["parameter"])} →</text>'
    if drawn["y"]:
        sides += f'<text class="side" x="{form.left}" y="{bottom + 56:.0f}">{escape(drawn["y"]["parameter"])} ↑</text>'
    return (
        f'<svg class="heat" viewBox="0 0 {form.width} {bottom + 66:.0f}" role="img" aria-label="{escape(name)}">'
        f"{''.join(parts)}{framed}{sides}{_scale(form, low, high, bottom + 30, percent)}</svg>"
    )


def shown(value: float | None, percent: bool) -> str:
    """A figure of the metric, short."""
    if value is None:
        return "–"
    value = round(value, 3 if percent else 2) + 0.0  # no negative zero
    return f"{value * 100:,.1f} %" if percent else f"{value:,.2f}"


def number(value: float) -> str:
    """A parameter's value as one would write it."""
    return f"{value:.6g}"


def _place(drawn: dict[str, Any], i: int, j: int) -> str:
    """Of a cell, in words."""
    found = []
    for side, at in (("x", i), ("y", j)):
        if drawn[side]:
            low, high = drawn[side]["cells"][at]
            until = f" to {number(high)}" if high != low else ""
            found.append(f"{escape(drawn[side]['parameter'])} {number(low)}{until}")
    return ", ".join(found)


def _labels(
    form: _Form,
    across: Sequence[Sequence[float]],
    up: Sequence[Sequence[float]],
    wide: float,
    tall: float,
    bottom: float,
) -> list[str]:
    found = []
    every = math.ceil(len(across) / form.labels)
    for i in range(0, len(across), every):
        place = f'x="{form.left + wide * (i + 0.5):.1f}" y="{bottom + 16:.1f}" text-anchor="middle"'
        found.append(f"<text {place}>{_label(across[i], wide * every)}</text>")
    every = math.ceil(16 / tall)
    for j in range(0, len(up), every):
        place = f'x="{form.left - 8}" y="{bottom - tall * (j + 0.5) + 4:.1f}" text-anchor="end"'
        found.append(f"<text {place}>{_label(up[j], form.left)}</text>")
    return found


def _label(cell: Sequence[float], room: float) -> str:
    """The value of a cell, or its range where there is room, else the start of it."""
    low, high = cell
    whole = f"{number(low)}–{number(high)}" if high != low else number(low)
    return whole if 7 * len(whole) < room else number(low)


def _scale(form: _Form, low: float, high: float, y: float, percent: bool) -> str:
    """What the colours mean."""
    right = form.width - RIGHT - 60
    left = right - form.scale
    cells = "".join(
        f'<rect class="cell" x="{left + form.scale * i / SCALE_STEPS:.1f}" y="{y:.1f}" '
        f'width="{form.scale / SCALE_STEPS + 0.5:.1f}" height="10" style="--s:{100 * i / (SCALE_STEPS - 1):.0f}%"/>'
        for i in range(SCALE_STEPS)
    )
    ends = (
        f'<text x="{left - 8}" y="{y + 9:.1f}" text-anchor="end">{shown(low, percent)}</text>'
        f'<text x="{right + 8}" y="{y + 9:.1f}">{shown(high, percent)}</text>'
    )
    return cells + ends
