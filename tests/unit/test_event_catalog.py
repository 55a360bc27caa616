"""The page of all events is what the code says, and its drawing names no event that is none."""

import re

from events import event_types
from readside.event_catalog import PAGE, page


def test_the_page_of_events_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_every_event_is_raised_by_some_aggregate() -> None:
    rows = [row for row in page().splitlines() if row.startswith("| `") and row.count(" | ") == 5]

    assert len(rows) == len(event_types())
    assert [row for row in rows if row.split(" | ")[2] == "–"] == []


def test_the_drawing_of_the_saga_names_events_that_exist() -> None:
    drawing = page().split("```mermaid")[1].split("```")[0]
    named = set(re.findall(r"\b(?:Order|Payment|Points|Refund)[A-Z][A-Za-z]+", drawing))

    assert named <= event_types().keys()
    assert len(named) > 10
