"""Lag is never understated."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from query.freshness import Checkpoint, LogState, health, lag_seconds
from query.reading import decimal

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def checkpoint(position: int, *, as_of: datetime | None = None, snapshot: str | None = None) -> Checkpoint:
    return Checkpoint(instance="v.v1", view="v", version=1, position=position, as_of=as_of, snapshot=snapshot)


def log(head: int, *samples: tuple[int, datetime], silent: float = 0.5) -> LogState:
    return LogState(
        deployment_id="d", currency="USD", time_zone="UTC", head=head, samples=samples, heartbeat_at=ago(silent)
    )


def test_a_view_at_the_head_is_current_however_old_its_last_event() -> None:
    assert lag_seconds(checkpoint(7, as_of=ago(3600)), log(7, (7, ago(3600))), NOW) == 0


def test_a_view_that_passed_the_head_last_told_is_current() -> None:
    assert lag_seconds(checkpoint(9), log(7, (7, ago(1))), NOW) == 0


def test_a_view_behind_is_as_old_as_the_first_head_that_it_lacks() -> None:
    samples = ((5, ago(60)), (8, ago(40)), (9, ago(10)))
    assert lag_seconds(checkpoint(6, as_of=ago(50)), log(9, *samples), NOW) == 40


def test_where_samples_do_not_reach_back_its_last_event_tells_its_age() -> None:
    assert lag_seconds(checkpoint(2, as_of=ago(500)), log(9, (8, ago(40)), (9, ago(10))), NOW) == 500


def test_a_view_that_has_seen_nothing_is_as_old_as_the_oldest_sample() -> None:
    assert lag_seconds(checkpoint(0), log(9, (8, ago(40)), (9, ago(10))), NOW) == 40


def test_a_dead_projector_makes_a_view_at_the_head_look_old() -> None:
    assert lag_seconds(checkpoint(7), log(7, (7, ago(90)), silent=90), NOW) == 90


def test_a_late_heartbeat_is_no_lag_yet() -> None:
    assert lag_seconds(checkpoint(7), log(7, (7, ago(90)), silent=4.9), NOW) == 0


def test_clocks_that_disagree_make_no_negative_lag() -> None:
    assert lag_seconds(checkpoint(7), log(8, (7, ago(1)), (8, ago(-3)), silent=-3), NOW) == 0


@pytest.mark.parametrize(("snapshot", "seen"), [(None, False), ("5:9:7", True), ("5:9:6,7", False), ("5:6:", False)])
def test_a_checkpoint_sees_what_its_snapshot_sees(snapshot: str | None, seen: bool) -> None:
    assert checkpoint(1, snapshot=snapshot).sees(6) is seen


@pytest.mark.parametrize(("seconds", "told"), [(0, "0.000"), (0.0001, "0.001"), (1.2, "1.200"), (86400, "86400.000")])
def test_a_lag_is_told_in_decimals_and_rounded_up(seconds: float, told: str) -> None:
    assert decimal(seconds) == told


def test_a_projector_that_cannot_look_for_new_events_makes_every_view_look_old() -> None:
    cut_off = msgspec.structs.replace(log(7, (7, ago(90))), sequenced_at=ago(60))
    assert lag_seconds(checkpoint(7), cut_off, NOW) == 60
    assert health(checkpoint(7), "active", cut_off, NOW) == "stopped"


@pytest.mark.parametrize(
    ("position", "moved", "samples", "role", "expected"),
    [
        (9, 3_600, ((9, 3_600),), "active", "idle"),
        (7, 1, ((7, 60), (9, 1)), "active", "behind"),
        # Nothing to do for an hour, then an event: that the checkpoint is old does not mean that it is stuck.
        (7, 3_600, ((7, 3_600), (9, 1)), "active", "behind"),
        (7, 1, ((7, 3_600), (9, 60)), "active", "behind"),
        (7, 60, ((7, 3_600), (9, 60)), "active", "stuck"),
        (0, 60, ((9, 60),), "building", "building"),
        (7, 60, ((7, 3_600), (9, 60)), "previous", "behind"),
    ],
)
def test_idle_is_told_from_stuck(
    position: int, moved: float, samples: tuple[tuple[int, float], ...], role: str, expected: str
) -> None:
    found = msgspec.structs.replace(checkpoint(position), updated_at=ago(moved))
    told = log(9, *((head, ago(seconds)) for head, seconds in samples))
    assert health(found, role, told, NOW) == expected
    assert health(found, role, msgspec.structs.replace(told, heartbeat_at=ago(30)), NOW) == "stopped"
