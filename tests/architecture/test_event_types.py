"""Every event that the source emits is declared by its slice and stands in the catalogue; what is missing is found."""

import json
from pathlib import Path

import pytest

from app.kernel.events import EventPayload, EventType
from app.kernel.orders import OrderStatus
from app.trading.orders.domain import TRANSITIONS
from tests.architecture import event_types
from tests.architecture.source import ROOT, plant

TYPES = event_types.declared()
NAMES = [one.name for one in TYPES]
PLANTED = EventType("planted.grown", "pla", "It grew.")


def test_the_catalogue_says_what_the_slices_declare() -> None:
    assert event_types.stale(ROOT, TYPES) == []


def test_every_event_that_is_emitted_is_declared() -> None:
    assert event_types.undeclared(ROOT, NAMES) == []


def test_no_event_is_declared_in_vain() -> None:
    assert event_types.unused(ROOT, NAMES) == []


def test_a_family_has_one_kind_of_subject() -> None:
    assert event_types.at_odds(TYPES) == []


def test_every_field_of_a_payload_is_described() -> None:
    assert event_types.undescribed(TYPES) == []


def test_every_status_that_an_order_can_come_to_is_an_event() -> None:
    """Orders tell of their status as `order.<status>`, which no reading of the source shows to be declared."""
    untold = {OrderStatus.SUBMITTING}  # it is told by its outcome
    besides = {
        "deferred",
        "reconciled",
        "group_overfilled",
        "modified",
        "modify_rejected",
        "triggered",
    }  # these change no status
    told = {name.removeprefix("order.") for name in NAMES if name.startswith("order.")}
    assert told - besides == {status.value for status in TRANSITIONS.keys() - untold}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("app/web/planted.py", 'def planted(tx, id):\n    tx.emit("planted.gone", id, {})\n'),
        ("app/web/planted.py", 'def planted(tx, id, how):\n    tx.emit(f"other.{how}", id, {})\n'),
        ("app/web/sql/planted.sql", "PERFORM events_append('planted.gone', o.id, NULL, '{}', NULL, NULL, NULL);"),
        ("app/web/sql/planted.sql", "PERFORM events_append(\n    'other.' || o.status, o.id, NULL, '{}');"),
    ],
)
def test_an_event_that_no_slice_declares_is_found(tmp_path: Path, file: str, text: str) -> None:
    (finding,) = event_types.undeclared(plant(tmp_path, {file: text}), [PLANTED.name])
    assert "declare it" in finding and file in finding


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("app/web/planted.py", "def planted(tx, id, name):\n    tx.emit(name, id, {})\n"),
        ("app/web/planted.py", 'def planted(tx, id, name):\n    tx.emit(f"{name}.grown", id, {})\n'),
        ("app/web/sql/planted.sql", "PERFORM events_append(p_type, o.id, NULL, '{}', NULL, NULL, NULL);"),
    ],
)
def test_an_event_whose_type_cannot_be_read_is_found(tmp_path: Path, file: str, text: str) -> None:
    (finding,) = event_types.undeclared(plant(tmp_path, {file: text}), [PLANTED.name])
    assert "cannot be read" in finding


def test_a_type_that_nothing_emits_is_found(tmp_path: Path) -> None:
    emits = plant(tmp_path, {"app/web/planted.py": 'def planted(tx, id):\n    tx.emit("planted.grown", id, {})\n'})
    (finding,) = event_types.unused(emits, [PLANTED.name, "planted.gone"])
    assert finding.startswith("planted.gone:")


@pytest.mark.parametrize("written", [[], [{"name": "planted.gone"}, *event_types.catalogue([PLANTED])]])
def test_a_catalogue_that_is_out_of_date_is_found(tmp_path: Path, written: list[object]) -> None:
    plant(tmp_path, {event_types.CATALOGUE.as_posix(): json.dumps(written)})
    (finding,) = event_types.stale(tmp_path, [PLANTED])
    assert "run python -m" in finding


def test_a_payload_that_changed_is_found(tmp_path: Path) -> None:
    class Grown(EventPayload):
        height: int

    changed = EventType(PLANTED.name, PLANTED.subject, PLANTED.says, Grown)
    plant(tmp_path, {event_types.CATALOGUE.as_posix(): json.dumps(event_types.catalogue([PLANTED]))})
    assert len(event_types.stale(tmp_path, [changed])) == 1
    (finding,) = event_types.undescribed([changed])
    assert "height" in finding


def test_a_family_of_two_kinds_is_found() -> None:
    (finding,) = event_types.at_odds([PLANTED, EventType("planted.gone", "oth", "It is gone.")])
    assert finding == "planted.*: subjects oth, pla; a family has one kind of subject"
