"""What rules and dashboard name is what the running processes tell."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from readside.run_file import Run
from tests.deployed import OF_PROMETHEUS, asked_for, recorded
from tests.e2e.stack import Stack, wait_for

_BY_THE_SCRAPE = {"job", "instance"}
# Series of these come into being with the first time that it happens.
_ONLY_WHEN_IT_HAPPENS = {"readside_events_unknown_total"}


def scraped(run: Run) -> dict[str, set[str]]:
    """The labels of every sample of every process, by its name."""
    found: dict[str, set[str]] = {}
    for port in (run.command_port, run.query_port, run.projector_port):
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        for family in text_string_to_metric_families(text):
            if family.type == "counter":
                found.setdefault(f"{family.name}_total", set())
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
            found.setdefault(family.name, set())
    return found


def test_every_metric_that_is_asked_for_is_told_with_its_labels(tmp_path: Path) -> None:
    with Stack(tmp_path / "d", "--demo") as stack:
        run = stack.until_ready()
        wait_for(lambda: "orders loaded" in stack.log(), "the demo shop")
        assert httpx.post(f"http://127.0.0.1:{run.command_port}/orders").status_code == 401

        def is_told() -> bool:
            return (
                "readside_reaction_handled_total" in scraped(run)
                and scraped(run)["readside_reaction_handled_total"] != set()
            )

        wait_for(is_told, "the first reactions")
        told = scraped(run)

    asked = {name: labels for name, labels in asked_for().items() if name not in recorded() | OF_PROMETHEUS}
    assert sorted(asked.keys() - told.keys()) == []
    chosen_by = {name: labels - _BY_THE_SCRAPE - told[name] for name, labels in asked.items()}
    assert {name: labels for name, labels in chosen_by.items() if labels and name not in _ONLY_WHEN_IT_HAPPENS} == {}
    assert told["readside_problems_total"] == {"status", "slug"}
    assert told["readside_postgres_pool_connections"] == {"pool", "state"}
    assert told["readside_mongo_pool_connections"] == {"state"}
    assert told["readside_schedule_since_run_seconds"] == {"schedule"}
    assert told["readside_payment_gateway_circuit_open"] == {"call"}
