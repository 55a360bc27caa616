"""When a child that died is started again."""

from readside.restarts import Backoff


def test_a_child_that_dies_at_once_is_waited_for_longer_each_time_up_to_five_seconds() -> None:
    backoff = Backoff()
    assert [backoff.delay_after(0.1) for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_child_that_lived_for_half_a_minute_is_started_again_at_once() -> None:
    backoff = Backoff()
    delays = [backoff.delay_after(lived) for lived in (0.1, 0.1, 0.1, 30.0, 0.1)]
    assert delays == [0.2, 0.4, 0.8, 0.2, 0.4]


def test_a_first_death_after_a_long_life_waits_the_shortest_time() -> None:
    assert Backoff().delay_after(3600) == 0.2
