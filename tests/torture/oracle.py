"""The judgement. It knows the answers that clients got (the ledger), reads the log over HTTP, and the views' documents.

First the log is held against the answers: every acknowledged command is there, once, at the version that was
answered; no position and no version is missing; what nobody was answered for is explained by a command that stayed
undecided. Then every document of every view is held against that log, by an oracle that shares no code with the views.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tests.oracle.views import MEASURES, Fact
from tests.torture.ledger import Acknowledged, Aggregate, Command, Json, Ledger

_SETTLEMENTS = {
    "OrderPaid": "PaymentRequested",
    "PaymentDeclined": "PaymentRequested",
    "RefundCompleted": "OrderPaid",
    "RefundFailed": "OrderPaid",
}
"""What the service itself may add later, and the event of the same payment that must stand before it."""
_KINDS = ("order", "product", "member")
_MOST = 10


def judged_log(ledger: Ledger, log: Sequence[Json]) -> list[str]:
    """What is wrong with the log, a line each; empty where it holds what was acknowledged, and nothing else."""
    wrong = _order(log)
    lives: dict[Aggregate, dict[int, Json]] = defaultdict(dict)
    for event in log:
        lives[event["aggregatetype"], event["aggregateid"]][event["aggregateversion"]] = event
    wrong += _versions(lives)
    explained: set[str] = set()
    for done in ledger.acknowledged:
        caused = _caused_by(done, lives[done.aggregate])
        if not caused:
            wrong.append(f"acknowledged and not in the log: {done.command.path} {done.answer}")
        elif not explained.isdisjoint(caused):
            wrong.append(f"two answers for one event: {done.command.path} {done.answer}")
        explained |= set(caused)
    rest = [event for event in log if event["id"] not in explained and event["aggregatetype"] in _KINDS]
    wrong += _unexplained(rest, ledger, lives)
    if ledger.seen != list(log[: len(ledger.seen)]):
        wrong.append("the log is not what somebody who followed it has seen")
    return wrong[:_MOST]


def facts_of(ledger: Ledger, log: Sequence[Json]) -> list[Fact]:
    """What the views must know: the log, less what an operator discarded."""
    return [
        Fact(
            (event["aggregatetype"], event["aggregateid"]),
            event["aggregateversion"],
            event["type"],
            datetime.fromisoformat(event["time"]),
            event["data"],
        )
        for event in log
        if event["id"] not in ledger.discarded
    ]


def expected_totals(expected: dict[str, dict[str, Json]]) -> Json:
    """The statistics of all days together, from the oracle's own counters by day."""
    days = [one for key, one in expected["sales_statistics"].items() if key.startswith("day|none|")]
    totals = {measure: sum(day[measure] for day in days) for measure in MEASURES}
    return {**totals, "net_sales": totals["gross_sales"] - totals["canceled_amount"]}


def _order(log: Sequence[Json]) -> list[str]:
    found = [event["position"] for event in log]
    wrong = [] if found == list(range(1, len(log) + 1)) else [f"positions with gaps or out of order: {found[:50]} …"]
    twice = [key for key, count in Counter(event["id"] for event in log).items() if count > 1]
    return wrong + [f"event {key} stands twice in the log" for key in twice]


def _versions(lives: dict[Aggregate, dict[int, Json]]) -> list[str]:
    wrong = []
    for aggregate, life in lives.items():
        if aggregate[0] not in _KINDS:
            continue
        in_order = sorted(life.values(), key=lambda event: int(event["position"]))
        if [event["aggregateversion"] for event in in_order] != list(range(1, len(in_order) + 1)):
            wrong.append(f"versions of {aggregate}: {[event['aggregateversion'] for event in in_order]}")
    return wrong


def _caused_by(done: Acknowledged, life: dict[int, Json]) -> list[str]:
    """The ids of the events that this command's answer stands for; none where the log holds something else."""
    for names in done.command.outcomes:
        first = done.version - len(names) + 1
        events = [life.get(version) for version in range(first, done.version + 1)]
        if all(event and event["type"] == name for event, name in zip(events, names, strict=True)):
            found = [event for event in events if event]
            if _holds(found[0]["data"], done.command.holds):
                return [event["id"] for event in found]
    return []


def _unexplained(rest: Sequence[Json], ledger: Ledger, lives: dict[Aggregate, dict[int, Json]]) -> list[str]:
    """Events that no answer stands for, no undecided command and no operator."""
    open_commands, wrong = list(ledger.undecided), []
    for event in rest:
        if event["id"] in ledger.discarded:
            continue
        command = next((one for one in open_commands if _may_have_caused(one, event)), None)
        if command is not None:
            open_commands.remove(command)
        elif not _settles(event, lives[event["aggregatetype"], event["aggregateid"]]):
            wrong.append(f"nobody was answered for {event['type']} of {event['subject']} at {event['position']}")
    return wrong


def _may_have_caused(command: Command, event: Json) -> bool:
    return (
        command.kind == event["aggregatetype"]
        and command.aggregate_id in (None, event["aggregateid"])
        and any(names[0] == event["type"] for names in command.outcomes)
        and _holds(event["data"], command.holds)
    )


def _settles(event: Json, life: dict[int, Json]) -> bool:
    """Whether the service may have added this by itself: the one outcome of a payment, or of a refund."""
    cause = _SETTLEMENTS.get(event["type"])
    # A refund that failed may succeed after all: these two exclude each other no more than once each.
    rivals = [event["type"]] if cause == "OrderPaid" else [name for name, of in _SETTLEMENTS.items() if of == cause]
    about = [one for one in life.values() if one["data"].get("payment_id") == event["data"].get("payment_id")]
    before = [one for one in about if one["type"] == cause and one["aggregateversion"] < event["aggregateversion"]]
    return cause is not None and len(before) == 1 and len([one for one in about if one["type"] in rivals]) == 1


def _holds(payload: Json, wanted: Any) -> bool:
    return all(payload.get(name) == value for name, value in wanted.items())
