"""When a crashed process is started again."""

from app.local.supervisor import Backoff


def test_the_wait_doubles_and_the_sixth_crash_in_a_minute_ends_the_run() -> None:
    backoff = Backoff()
    assert [backoff.crashed(float(second)) for second in range(6)] == [0.5, 1.0, 2.0, 4.0, 8.0, None]


def test_a_crash_long_ago_does_not_count() -> None:
    backoff = Backoff()
    for second in range(5):
        backoff.crashed(float(second))
    assert backoff.crashed(59.9) is None
    assert backoff.crashed(62.5) == 2.0, "the crashes of seconds 0 to 2 are out of the window"


def test_the_wait_has_a_ceiling() -> None:
    backoff = Backoff(most=20)
    assert [backoff.crashed(0.0) for _ in range(9)][-1] == 10.0
