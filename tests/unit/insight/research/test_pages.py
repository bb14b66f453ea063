"""The pages of sweeps: whole, alone, escaped, and with every figure of the document that they promise."""

from html.parser import HTMLParser
from typing import Any

import pytest

from app.insight.research.service import Cut, Space, sweep_files, sweep_page, walk_files, walk_page
from tests.unit.insight.research.conftest import searched, space


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.seen.append(tag)
        self.open.append(tag)
        if tag == "meta":
            self.open.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str, result: dict[str, Any]) -> _Tags:
    tags = _Tags()
    tags.feed(page)
    assert tags.open == [] and tags.links == []
    assert "<script" not in page and "http" not in page
    assert "cross &lt;&amp;&gt;" in page and "cross <&>" not in page
    assert result["sha256"] in page and result["program"]["family"] in page
    return tags


@pytest.mark.parametrize(
    "over",
    [space(), space(fast="5"), space("integers:3:20", "integers:25:80", 30, 5), space(fast="0,5,10", slow="5:200:3")],
    ids=["grid", "one_row", "random", "refused"],
)
def test_the_page_of_a_sweep(over: Any) -> None:
    result = sweep_files(searched(over))[0]
    page = sweep_page(result)
    tags = checked(page, result)
    known = sum(value is not None for row in result["heat_map"]["best"] for value in row)
    assert page.count("<title>") == 1 + known
    assert tags.seen.count("tr") >= min(25, len(result["ranking"])) + 1
    assert f"{result['significance']['deflated_sharpe'] * 100:.1f} %" in page


def test_the_page_of_one_parameter_has_a_map_of_one_row() -> None:
    over = space()
    result = sweep_files(searched(Space({"fast": over.axes["fast"]})))[0]
    assert result["heat_map"]["y"] is None and len(result["heat_map"]["best"]) == 1
    checked(sweep_page(result), result)


def test_the_page_of_a_search_that_never_traded() -> None:
    result = sweep_files(searched(space(fast="50", slow="50")))[0]
    assert result["best"] is None and result["significance"] is None
    assert "No combination has this metric" in sweep_page(result)
    checked(sweep_page(result), result)


def test_the_page_of_a_walk_forward() -> None:
    result = walk_files(searched(), Cut(250, 100))
    page = walk_page(result)
    checked(page, result)
    for fold in result["folds"]:
        assert f"{fold['test']['from']} – {fold['test']['to']}" in page
    assert "polyline" in page
