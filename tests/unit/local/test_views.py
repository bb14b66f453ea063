"""What the command line makes of the API's own documented examples."""

from io import StringIO
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from app.custody.accounts.schemas import AccountOut
from app.insight.analytics.schemas import PerformanceOut
from app.local import views
from app.trading.orders.schemas import OrderOut
from app.trading.portfolio.schemas import PositionOut


def example(model: type[BaseModel]) -> dict[str, Any]:
    """The example of the OpenAPI document, completed by the model itself."""
    found: dict[str, Any] = model.model_validate(model.model_config["json_schema_extra"]["examples"][0]).model_dump(  # type: ignore[index]
        mode="json"
    )
    return found


class Answers:
    """The API, answering what it documents."""

    def __init__(self, **rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def get(self, path: str, **query: Any) -> Any:
        assert path == "/v1/performance"
        assert query == {"deployment_id": "dep_1"}
        return example(PerformanceOut)

    def rows(self, path: str, *, limit: int, **query: Any) -> list[dict[str, Any]]:
        return self._rows[path.rpartition("/")[2]][:limit]


def drawn(table: Table) -> str:
    console = Console(file=StringIO(), width=140)
    console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_orders_show_what_was_asked_and_what_became_of_it() -> None:
    order = example(OrderOut)
    part = {**order, "status": "partially_filled", "filled_quantity": "4", "average_price": "210.30"}
    rows, table = views.orders(Answers(orders=[order, part]), 20)
    assert rows == [order, part]
    text = drawn(table)
    assert "limit 210.35" in text
    assert "4 of 10" in text
    assert "partially filled" in text
    assert "2003-06-02 20:00" in text


def test_positions_show_their_account_by_name() -> None:
    account, position = example(AccountOut), example(PositionOut)
    _, table = views.positions(Answers(positions=[position], accounts=[account]), 20)
    text = drawn(table)
    assert account["name"] in text
    assert "25,242.00" in text


def test_performance_shows_a_column_for_each_strategy_and_why_a_figure_is_missing() -> None:
    answers = Answers(strategies=[{"id": "str_1", "name": "mean_reversion"}], deployments=[_DEPLOYMENT, _DEPLOYMENT])
    rows, table = views.performance(answers)
    assert [row["strategy"] for row in rows] == ["mean_reversion"] * 2
    text = drawn(table)
    assert "+31.20%" in text
    assert "-12.04%" in text
    assert "60.0%" in text
    assert "profit factor: no round trip lost money" in text


_DEPLOYMENT = {"id": "dep_1", "strategy_id": "str_1"}
