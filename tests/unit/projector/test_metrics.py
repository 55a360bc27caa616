"""What is exported: every event counted once in its bucket, and standings of the moment of the scrape."""

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest

from projector.metrics import CommitToVisible, Standing, Standings

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def scraped(collector: CommitToVisible | Standings) -> dict[str, float]:
    """The samples by their text, as a scraper reads them."""
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_every_event_of_a_batch_is_counted_by_its_own_age() -> None:
    visible = CommitToVisible()
    ages = [0.0005, 0.001, 0.0015, 0.3, 700.0, -1.0]
    visible.observe("v", [NOW - timedelta(seconds=age) for age in ages], NOW)
    visible.observe("v", [NOW - timedelta(seconds=0.3)], NOW)

    found = scraped(visible)

    def bucket(bound: str) -> float:
        return found[f'readside_commit_to_visible_seconds_bucket{{le="{bound}",projection="v"}}']

    assert [bucket(bound) for bound in ("0.001", "0.002", "0.2", "0.5", "600.0", "+Inf")] == [3, 4, 4, 6, 6, 7]
    assert found['readside_commit_to_visible_seconds_count{projection="v"}'] == 7
    assert round(found['readside_commit_to_visible_seconds_sum{projection="v"}'], 6) == 700.603


def test_standings_are_those_of_the_moment_of_the_scrape() -> None:
    standings, lag = Standings(), 0

    def now() -> list[Standing]:
        return [
            Standing(
                projection="v",
                position=7,
                lag_events=lag,
                lag_seconds=lag * 1.5,
                parked_sequences=2,
                epoch=3,
                health="stuck" if lag else "idle",
            )
        ]

    standings.source = now
    assert scraped(standings)['readside_projection_health{health="idle",projection="v"}'] == 1
    lag = 4
    found = scraped(standings)

    assert found['readside_projection_lag_events{projection="v"}'] == 4
    assert found['readside_projection_lag_seconds{projection="v"}'] == 6
    assert found['readside_projection_epoch{projection="v"}'] == 3
    assert found['readside_projection_parked_sequences{projection="v"}'] == 2
    assert found['readside_projection_health{health="stuck",projection="v"}'] == 1
    assert 'readside_projection_health{health="idle",projection="v"}' not in found
