"""Draws curves as SVG, once for a wide page and once for a narrow one: every extreme is kept, ticks are round."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

RIGHT, TOP, BOTTOM = 8, 10, 24
_HALF_DATE = 28
"""A date nearer to the edge would be cut off."""


@dataclass(frozen=True, slots=True)
class _Form:
    """`buckets`: how many pairs of extremes are drawn; `dates`: how many marks stand below."""

    css: str
    left: int
    width: int
    height: int
    buckets: int
    dates: int


_FORMS = (_Form("wide", 84, 1020, 280, 500, 8), _Form("narrow", 64, 420, 220, 190, 4))


def line_chart(
    days: Sequence[date], values: Sequence[float], *, label: str, base: float, suffix: str = "", css: str = ""
) -> str:
    """SVGs of `values` over `days`, with the area to `base` shaded; the page shows the one that fits. `label` is the
    accessible name."""
    if not values:
        return "<p>No trading day lies in the range.</p>"
    return "".join(
        f'<div class="{form.css}">{_svg(form, days, values, label=label, base=base, suffix=suffix, css=css)}</div>'
        for form in _FORMS
    )


def _svg(
    form: _Form, days: Sequence[date], values: Sequence[float], *, label: str, base: float, suffix: str, css: str
) -> str:
    low, high = min([*values, base]), max([*values, base])
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    wide, tall = form.width - form.left - RIGHT, form.height - TOP - BOTTOM

    def x(index: int) -> float:
        return form.left + wide * index / max(len(values) - 1, 1)

    def y(value: float) -> float:
        return TOP + tall * (high - value) / (high - low)

    def anchor(index: int) -> str:
        return "end" if x(index) > form.width - RIGHT - _HALF_DATE else "middle"

    points = [f"{x(i):.1f},{y(values[i]):.1f}" for i in _thinned(values, form.buckets)]
    ground = f"{y(base):.1f}"
    area = f"{form.left},{ground} {' '.join(points)} {x(len(values) - 1):.1f},{ground}"
    lines = "".join(
        f'<line class="grid" x1="{form.left}" x2="{form.width - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{form.left - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{_short(t, ticks)}{suffix}</text>'
        for t in ticks
    )
    marks = "".join(
        f'<text x="{x(i):.1f}" y="{form.height - 6}" text-anchor="{anchor(i)}">{text}</text>'
        for i, text in _dates(days, form.dates)
    )
    return (
        f'<svg viewBox="0 0 {form.width} {form.height}" role="img" aria-label="{label}">{lines}{marks}'
        f'<polygon class="area {css}" points="{area}"/>'
        f'<polyline class="curve {css}" points="{" ".join(points)}"/></svg>'
    )


def _thinned(values: Sequence[float], buckets: int) -> list[int]:
    """Indices to draw: of each bucket its lowest and highest, and both ends."""
    count = len(values)
    if count <= 2 * buckets:
        return list(range(count))
    kept = {0, count - 1}
    for bucket in range(buckets):
        rows = range(bucket * count // buckets, (bucket + 1) * count // buckets)
        kept |= {min(rows, key=values.__getitem__), max(rows, key=values.__getitem__)}
    return sorted(kept)


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers that cover low to high: steps of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * one for one in (1.0, 2.0, 2.5, 5.0, 10.0) if span / (power * one) <= wanted)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * index for index in range(first, max(last, first + 1) + 1)]


def _short(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    if step >= 1e6:
        return f"{value / 1e6:,.{0 if step % 1e6 == 0 else 1}f}M"
    places = 0 if step >= 1 and step == int(step) else max(1, -math.floor(math.log10(step)))
    return f"{value:,.{places}f}" if value else "0"


def _dates(days: Sequence[date], wanted: int) -> list[tuple[int, str]]:
    """(index, text) of the first day of years, or of months when the range is short."""
    for form in ("%Y", "%b %Y", "%d %b"):
        starts = [i for i in range(1, len(days)) if days[i].strftime(form) != days[i - 1].strftime(form)]
        if len(starts) >= 3 or form == "%d %b":
            every = max(1, math.ceil(len(starts) / wanted))
            return [(i, days[i].strftime(form)) for i in starts[::every]]
    return []
