"""The port a server gets."""

import pytest

from app.local.ports import PortError, keep_port, pick_port


def test_a_free_preferred_port_is_taken_silently() -> None:
    said: list[str] = []
    assert pick_port(5000, "it", said.append, free=lambda _: True) == 5000
    assert said == []


def test_a_busy_port_yields_the_next_free_one_and_says_so() -> None:
    said: list[str] = []
    assert pick_port(5000, "Valkey", said.append, free=lambda port: port > 5002) == 5003
    assert said == ["port 5000 is busy: Valkey listens on 5003"]


def test_no_free_port_is_an_error_naming_the_range() -> None:
    with pytest.raises(PortError, match="between 5000 and 5099"):
        pick_port(5000, "it", free=lambda _: False)


def test_a_port_that_others_know_is_waited_for() -> None:
    looks = iter([False, False, True])
    assert keep_port(5000, "Valkey", free=lambda _: next(looks)) == 5000
    assert next(looks, None) is None


def test_a_port_that_was_taken_meanwhile_is_an_error_with_its_remedy() -> None:
    with pytest.raises(PortError, match="took port 5000 while Valkey was away; end it"):
        keep_port(5000, "Valkey", free=lambda _: False, seconds=0.0)
