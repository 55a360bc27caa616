"""How long to wait before the next attempt."""

from projector.reacting.attempts import backoff


def test_the_backoff_doubles_up_to_a_limit_and_is_not_the_same_for_all() -> None:
    for failures, expected in enumerate((1.0, 2.0, 4.0, 8.0, 10.0, 10.0), 1):
        waits = [backoff(1.0, failures, 10.0) for _ in range(50)]
        assert expected * 0.75 <= min(waits) < max(waits) <= expected * 1.25
    assert backoff(1.0, 10**6, 10.0) <= 12.5
