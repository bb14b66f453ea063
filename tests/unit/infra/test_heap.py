"""What a process keeps is out of the garbage collector's sight."""

import gc

from app.infra.heap import keep_what_is_there


def test_what_is_there_is_collected_no_more() -> None:
    try:
        keep_what_is_there()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < gc.get_freeze_count() / 10
    finally:
        gc.unfreeze()
