"""Writes the pages of a sweep and of a walk-forward: one HTML file each, from a result document alone."""

from collections.abc import Sequence
from datetime import date
from html import escape
from typing import Any

from app.insight.backtest.service import STYLE, line_chart
from app.insight.research.service.charts import heat_chart, number, shown

ROWS = 25
_PERCENT = ("total_return", "cagr", "volatility", "maximum_drawdown")
_NAMES = {
    "sharpe": "Sharpe ratio",
    "sortino": "Sortino ratio",
    "total_return": "Total return",
    "cagr": "Yearly return",
    "volatility": "Volatility",
    "maximum_drawdown": "Deepest fall",
}
_MORE = """
svg .cell { fill: color-mix(in oklab, var(--accent) var(--s), var(--pale)); }
svg.heat .cell { stroke: var(--paper); stroke-width: 1; }
svg .frame { fill: none; stroke: var(--ink); stroke-width: 2.5; }
svg .value { font-size: 11px; fill: var(--ink); } svg .value.high { fill: var(--paper); }
svg .side { fill: var(--ink); font-size: 13px; }
:root { --pale: #eef2f7; } @media (prefers-color-scheme: dark) { :root { --pale: #1a2430; } }
.note.verdict { border-left-color: var(--accent); } tr.best td { font-weight: 600; }
"""


def sweep_page(result: dict[str, Any]) -> str:
    """HTML of a sweep's document. No script, no font, no address outside it."""
    metric = result["metric"]
    percent = metric in _PERCENT
    heat = result["heat_map"]
    others = f", best of {escape(_listed(heat['others']))}" if heat["others"] else ""
    parts = [
        _head(
            result, "Sweep", f"{result['trials']['run']:,} combinations of {escape(_listed(result['space']['axes']))}"
        ),
        _sweep_tiles(result),
        _verdict(result),
        f"<h2>{_NAMES[metric]}{others}</h2>",
        heat_chart(heat, heat["best"], name=_NAMES[metric], percent=percent),
    ]
    if heat["others"]:
        parts += [
            f"<h2>{_NAMES[metric]}, mean over {escape(_listed(heat['others']))}</h2>",
            heat_chart(heat, heat["mean"], name=f"Mean {_NAMES[metric]}", percent=percent),
        ]
    parts += [
        "<h2>Best combinations</h2>",
        _ranking(result),
        "<h2>Assumptions</h2>",
        _pairs([*result["assumptions"].items(), *_identity(result)]),
    ]
    return _page(result, "sweep", parts)


def walk_page(result: dict[str, Any]) -> str:
    """HTML of a walk-forward's document."""
    days = [date.fromisoformat(point["date"]) for point in result["equity"]]
    curve = [float(point["equity"]) for point in result["equity"]]
    start, cut = float(result["initial_cash"]), result["cut"]
    kind = "anchored" if cut["anchored"] else "rolling"
    said = f"{kind}: {cut['train']} trading dates to train, {cut['test']} to test"
    said += f", {cut['purge']} purged, {cut['embargo']} embargoed" if cut["purge"] or cut["embargo"] else ""
    parts = [
        _head(result, "Walk-forward", f"{result['trials']['combinations']:,} combinations in each fold, {said}"),
        _walk_tiles(result),
        _verdict(result),
        "<h2>Equity out of sample</h2>",
        line_chart(days, curve, label=f"Equity in {escape(result['currency'])}", base=start),
        "<h2>Folds</h2>",
        _folds(result),
        "<h2>Assumptions</h2>",
        _pairs([*((key, text) for key, text in result["assumptions"].items() if text), *_identity(result)]),
    ]
    return _page(result, "walk-forward", parts)


def _page(result: dict[str, Any], kind: str, parts: Sequence[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(result['program']['name'])}: {kind}</title><style>{STYLE}{_MORE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _head(result: dict[str, Any], kind: str, what: str) -> str:
    data = result["data"]
    symbols = ", ".join(escape(one["symbol"]) for one in data["instruments"])
    fixed = ", ".join(f"{escape(key)} {value:g}" for key, value in result["program"]["parameters"].items())
    return (
        f"<h1>{escape(result['program']['name'])}</h1>"
        f"<p>{kind} · {symbols} · {data['traded_from'][:10]} to {data['last_bar'][:10]}</p><p>{what}</p>"
        + (f"<p>{fixed}</p>" if fixed else "")
    )


def _sweep_tiles(result: dict[str, Any]) -> str:
    metric, best, held = result["metric"], result["best"], result["stability"]
    percent = metric in _PERCENT
    if best is None:
        return _tiles([("Combinations", f"{result['trials']['run']:,}"), (_NAMES[metric], "–")])
    shown_rows = [(name, number(value)) for name, value in best["parameters"].items()]
    return _tiles(
        [
            (f"{_NAMES[metric]}, best", shown(best[metric], percent)),
            *shown_rows,
            (f"Mean of {held['neighbours']} neighbours", shown(held["mean"], percent)),
            ("Worst neighbour", shown(held["worst"], percent)),
            ("Deflated Sharpe", _probability(result["significance"]["deflated_sharpe"])),
            ("Total return", shown(best["total_return"], True)),
            ("Deepest fall", shown(best["maximum_drawdown"], True)),
            ("Fills", f"{best['fills']:,}"),
            (f"Charges, {escape(result['currency'])}", f"{float(best['charges']):,.2f}"),
        ]
    )


def _walk_tiles(result: dict[str, Any]) -> str:
    metric, found, kept = result["metric"], result["out_of_sample"], result["efficiency"]
    percent = metric in _PERCENT
    return _tiles(
        [
            ("Final equity", f"{float(found['final_equity']):,.2f}"),
            ("Total return", shown(found["total_return"], True)),
            ("Yearly return", shown(found["cagr"], True)),
            ("Sharpe ratio", shown(found["sharpe"], False)),
            ("Deepest fall", shown(found["maximum_drawdown"], True)),
            ("Deflated Sharpe", _probability(result["significance"]["deflated_sharpe"])),
            (f"{_NAMES[metric]}, trained", shown(kept["in_sample"], percent)),
            (f"{_NAMES[metric]}, tested", shown(kept["out_of_sample"], percent)),
            ("Folds", f"{len(result['folds']):,}"),
            ("Fills", f"{found['fills']:,}"),
        ]
    )


def _tiles(shown_pairs: Sequence[tuple[str, str]]) -> str:
    tiles = "".join(f'<div class="tile"><span>{escape(title)}</span><b>{text}</b></div>' for title, text in shown_pairs)
    return f'<div class="tiles">{tiles}</div>'


def _verdict(result: dict[str, Any]) -> str:
    """What the number of trials makes of the best one, in a sentence."""
    found = result["significance"]
    if found is None or found["deflated_sharpe"] is None:
        return ""
    text = (
        f"Of {found['trials']:,} combinations without any skill, the best would still be expected to show a Sharpe "
        f"ratio of {found['expected_maximum_sharpe']:,.2f} on these dates. This one shows {found['sharpe']:,.2f}; the "
        f"probability that its true ratio lies above that is {_probability(found['deflated_sharpe'])} (95 % is the "
        "usual bar)."
    )
    return f'<p class="note {"verdict" if found["deflated_sharpe"] >= 0.95 else "loss"}">{text}</p>'


def _probability(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def _ranking(result: dict[str, Any]) -> str:
    names = list(result["space"]["axes"])
    columns = [*_NAMES]
    heads = "".join(f'<th class="left">{escape(name)}</th>' for name in names)
    heads += "".join(f"<th>{head}</th>" for head in (*(_NAMES[name] for name in columns), "Fills", "Charges"))
    rows = ""
    for at, row in enumerate(result["ranking"][:ROWS]):
        cells = "".join(f'<td class="left">{number(row["parameters"][name])}</td>' for name in names)
        if "refusal" in row:
            cells += f'<td class="left" colspan="{len(columns) + 2}">{escape(row["refusal"])}</td>'
        else:
            cells += "".join(f"<td>{shown(row[name], name in _PERCENT)}</td>" for name in columns)
            cells += f"<td>{row['fills']:,}</td><td>{float(row['charges']):,.2f}</td>"
        rows += f"<tr{' class=best' if at == 0 else ''}>{cells}</tr>"
    return _scroll(f"<table><tr>{heads}</tr>{rows}</table>")


def _folds(result: dict[str, Any]) -> str:
    names, metric = list(result["space"]["axes"]), result["metric"]
    percent = metric in _PERCENT
    heads = '<th class="left">trained</th><th class="left">tested</th>'
    heads += "".join(f"<th>{escape(name)}</th>" for name in names)
    heads += f"<th>{_NAMES[metric]}, trained</th><th>tested</th><th>Return</th><th>Deepest fall</th><th>Fills</th>"
    rows = ""
    for fold in result["folds"]:
        cells = "".join(
            f'<td class="left">{fold[part]["from"]} – {fold[part]["to"]}</td>' for part in ("train", "test")
        )
        chosen, inside, outside = fold["parameters"] or {}, fold["in_sample"], fold["out_of_sample"]
        cells += "".join(f"<td>{number(chosen[name]) if chosen else '–'}</td>" for name in names)
        cells += f"<td>{shown(inside and inside[metric], percent)}</td>"
        if outside is None:
            cells += "<td>–</td>" * 4
        else:
            sign = outside["total_return"] or 0.0
            colour = "gain" if sign > 0 else "loss" if sign < 0 else ""
            cells += f"<td>{shown(outside[metric], percent)}</td>"
            cells += f'<td class="{colour}">{shown(outside["total_return"], True)}</td>'
            cells += f"<td>{shown(outside['maximum_drawdown'], True)}</td><td>{outside['fills']:,}</td>"
        rows += f"<tr>{cells}</tr>"
    return _scroll(f"<table><tr>{heads}</tr>{rows}</table>")


def _pairs(pairs: Sequence[tuple[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="left">{escape(str(key)).replace("_", " ")}</td><td class="wrap">{escape(str(value))}</td></tr>'
        for key, value in pairs
    )
    return f'<table class="pairs">{rows}</table>'


def _identity(result: dict[str, Any]) -> list[tuple[str, str]]:
    found = result["trials"]
    space = result["space"]
    counted = f"{found['run']:,} run" + (f", {found['refused']:,} could not run" if found.get("refused") else "")
    counted += f", {found['earlier']:,} before" if found["earlier"] else ""
    drawn = [] if space["draws"] is None else [("drawn", f"{space['draws']:,} with seed {space['seed']}")]
    return [
        ("runs", counted),
        *drawn,
        ("program family", result["program"]["family"]),
        ("data digest", result["data"]["manifest_sha256"]),
        ("figures", result["sha256"]),
    ]


def _listed(names: Sequence[str] | dict[str, Any]) -> str:
    return " × ".join(names)


def _scroll(inner: str) -> str:
    return f'<div class="scroll">{inner}</div>'
