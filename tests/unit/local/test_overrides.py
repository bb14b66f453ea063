"""How the operator writes values, times and reasons."""

from datetime import UTC, datetime
from typing import Any

import pytest
import typer

from app.local.overrides import check_reason, read_override, read_time, read_value
from app.platform.plans.domain import RateTerms

NOW = datetime(2026, 1, 31, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("features.webhooks", "on", True),
        ("features.webhooks", "OFF", False),
        ("features.webhooks", "true", True),
        ("limits.accounts", "0", 0),
        ("limits.accounts", "150", 150),
        ("limits.accounts", "unlimited", None),
        ("rates.orders", "per_credential=2,quota=5,window_s=60", {"quota": 5, "window_s": 60, "per_credential": 2}),
    ],
)
def test_a_value_is_read_by_what_its_key_takes(key: str, text: str, value: Any) -> None:
    assert read_value(key, text) == value and type(read_value(key, text)) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "field", "says"),
    [
        ("accounts", "5", "KEY", "features.<name>, limits.<name>, rates.<class>"),
        ("limits.", "5", "KEY", "limits.accounts"),
        ("limits.Accounts", "5", "KEY", "limits.accounts"),
        ("features.gold", "on", "KEY", "features.live_trading"),
        ("rates.gold", "5", "KEY", "rates.orders"),
        ("features.webhooks", "1", "VALUE", "takes on or off"),
        ("limits.accounts", "-1", "VALUE", "a number or `unlimited`"),
        ("limits.accounts", "1.5", "VALUE", "a number or `unlimited`"),
        ("limits.accounts", "1_000", "VALUE", "a number or `unlimited`"),
        ("limits.accounts", "٣", "VALUE", "a number or `unlimited`"),
        ("limits.accounts", "9" * 19, "VALUE", "a number or `unlimited`"),
        ("limits.accounts", "true", "VALUE", "a number or `unlimited`"),
        ("rates.orders", "5", "VALUE", "quota=…,window_s=…,per_credential=…"),
        ("rates.orders", "quota=5,window_s=60", "VALUE", "quota=…,window_s=…,per_credential=…"),
        ("rates.orders", "quota=5,quota=5,window_s=60", "VALUE", "quota=…,window_s=…,per_credential=…"),
        ("rates.orders", "quota=5,window_s=a,per_credential=1", "VALUE", "quota=…,window_s=…,per_credential=…"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_field_with_what_can(key: str, text: str, field: str, says: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        read_value(key, text)
    assert refused.value.param_hint == field
    assert says in refused.value.message


def test_an_override_keeps_value_reason_and_end() -> None:
    made = read_override(
        "rates.orders", "quota=5,window_s=60,per_credential=5", reason="pilot", until="2026-02-01", now=NOW
    )
    assert made.value == RateTerms(quota=5, window_s=60, per_credential=5)
    assert (made.reason, made.expires_at) == ("pilot", datetime(2026, 2, 1, tzinfo=UTC))
    assert read_override("limits.accounts", "5", reason="pilot", until=None, now=NOW).expires_at is None


@pytest.mark.parametrize(
    ("key", "text", "until", "says"),
    [
        ("rates.orders", "quota=5,window_s=60,per_credential=6", None, "per_credential must be at most quota"),
        ("rates.orders", "quota=5,window_s=3601,per_credential=5", None, "window_s"),
        ("rates.orders", "quota=0,window_s=60,per_credential=0", None, "quota"),
        ("limits.accounts", "5", "2026-01-31", "must lie in the future"),
        ("limits.accounts", "5", "2026-01-31T14:45:00+05:30", "must lie in the future"),
    ],
)
def test_an_override_that_is_out_of_bounds_or_over_is_refused(
    key: str, text: str, until: str | None, says: str
) -> None:
    with pytest.raises(typer.BadParameter, match=says):
        read_override(key, text, reason="pilot", until=until, now=NOW)


def test_a_time_is_a_date_in_utc_or_has_its_offset() -> None:
    assert read_time("2026-12-31", "--until") == datetime(2026, 12, 31, tzinfo=UTC)
    assert read_time("2026-12-31T18:30:00Z", "--until") == datetime(2026, 12, 31, 18, 30, tzinfo=UTC)
    indian = read_time("2026-12-31T18:30:00+05:30", "--until")
    assert indian == datetime(2026, 12, 31, 13, tzinfo=UTC) and indian.tzinfo is UTC
    for wrong in ("tomorrow", "", "2026-13-01", "2026-12-31T18:30:00", "20261231", "2026-W53-4", "31.12.2026"):
        with pytest.raises(typer.BadParameter, match="is no time"):
            read_time(wrong, "--until")


def test_a_reason_is_one_line_that_says_something() -> None:
    assert check_reason("  ticket 42 ") == "ticket 42"
    for wrong in ("", "   ", "x" * 501, "two\nlines", "bell\a"):
        with pytest.raises(typer.BadParameter, match="say why"):
            check_reason(wrong)
