"""``docs/events.md``: every event, who raises it, who handles it before commit, who reacts to it, which views show it.

Made from the code's own registries, so that it cannot tell what is not so; ``make docs`` writes it, and a test holds
the page against what would be written now. Who raises an event is read from the contexts' models, as text: an event is
made where an aggregate records it, and nowhere else.
"""

import ast
from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import getdoc
from pathlib import Path

from command import contexts
from command.background import jobs, reactions
from command.bootstrap import before_commit_handlers
from events import event_types
from events.envelope import DomainEvent, aggregate_type_named
from views import all_views

PAGE = Path(__file__).parent.parent / "docs" / "events.md"

_HEAD = """# Events

<!-- Written by `make docs` from the code. Change the code, or `readside/event_catalog.py`. -->

What happened in the shop, in the past tense. An event is never changed once it is published; a new shape is a new
version, and [upcasters](architecture.md#rooms) lift the old ones. The JSON Schema of each is at `/events/schemas`.

## Paying, and canceling what was paid

```mermaid
sequenceDiagram
    participant C as Customer
    participant O as ordering
    participant P as points
    participant Y as payments
    participant G as card gateway
    C->>O: place
    Note over O: OrderPlaced — before commit: stock reserved, coupon used
    C->>O: pay
    Note over O: PaymentRequested — the order takes no other change until it is settled (409 payment-in-progress)
    opt some of it by points
        O-->>P: PaymentRequested
        Note over P: PointsUsed, or PointsRejected
    end
    P-->>Y: PointsUsed (or, without points, PaymentRequested)
    Y->>G: charge
    alt the gateway has the money
        Note over Y: PaymentCaptured
        Y-->>O: PaymentCaptured
        Note over O: OrderPaid
    else it refused, or could not be asked
        Note over Y: PaymentFailed (and PaymentVoided, where nobody knew whether it had charged)
        Y-->>P: PaymentFailed
        Note over P: PointsReturned
        P-->>O: PointsReturned (or, without points, PaymentFailed)
        Note over O: PaymentDeclined — before commit: coupon returned; the order can be paid again
    end
    C->>O: cancel a paid order
    Note over O: OrderCanceled — before commit: stock released, coupon returned
    O-->>Y: OrderCanceled
    Y->>G: refund
    Note over Y: PaymentRefunded, or after the last attempt PaymentRefundFailed and a dead letter
    Y-->>P: PaymentRefunded
    Note over P: PointsReturned
    P-->>O: PointsReturned (or, without points, PaymentRefunded)
    Note over O: RefundCompleted, or RefundFailed
```

Every step is a transaction of its own, in its own context, caused by an event of the log. Each looks at its context's
own record first: what was done is not done again, and what was rolled back stays so. An order that nobody paid in time
is declined and canceled by a scheduled job, also while its payment is under way; a payment that is approved after that
is refunded.
"""


def page() -> str:
    """The whole page, as it is to be."""
    parts = [_HEAD, *(_section(context, events) for context, events in _by_module()), _reactions(), _jobs()]
    return "\n".join(parts)


def _by_module() -> Iterator[tuple[str, list[type[DomainEvent]]]]:
    modules: dict[str, list[type[DomainEvent]]] = {}
    for event in event_types().values():
        modules.setdefault(event.__module__.removeprefix("events."), []).append(event)
    yield from sorted(modules.items())


def _section(context: str, events: Sequence[type[DomainEvent]]) -> str:
    summary = (getdoc(import_module(f"events.{context}")) or "").split("\n\n")[0].replace("\n", " ")
    rows = [
        "| event | of | raised by | before commit | reactions | views |",
        "|---|---|---|---|---|---|",
        *(_row(event) for event in events),
    ]
    return "\n".join([f"## {context}", "", summary, "", *rows, ""])


def _row(event: type[DomainEvent]) -> str:
    told = (getdoc(event) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
    version = f" (version {event.schema_version})" if event.schema_version > 1 else ""
    cells = (
        f"`{event.__name__}`{version}: {told}",
        aggregate_type_named(event.__name__),
        _listed(_raised_by(event.__name__)),
        _listed(_handled_by(event)),
        _listed(one.name for one in reactions() if event in one.event_types),
        _listed(view.name for view in all_views().values() if event in view.event_types),
    )
    return f"| {' | '.join(cells)} |"


def _raised_by(event: str) -> Iterator[str]:
    for model in contexts.brought("model"):
        assert model.__file__ is not None
        for cls in ast.parse(Path(model.__file__).read_text()).body:
            if isinstance(cls, ast.ClassDef):
                yield from (f"{cls.name}.{method}" for method in _methods_that_make(event, cls))


def _methods_that_make(event: str, cls: ast.ClassDef) -> Iterator[str]:
    for method in cls.body:
        if isinstance(method, ast.FunctionDef) and any(
            isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == event
            for call in ast.walk(method)
        ):
            yield method.name


def _handled_by(event: type[DomainEvent]) -> Iterator[str]:
    for handler in before_commit_handlers().of_type(event):
        yield f"{handler.__module__.split('.')[1]}.{handler.__name__}"


def _reactions() -> str:
    rows = [
        f"| `{one.name}` | {_listed(sorted(event.__name__ for event in one.event_types))} | "
        f"{'then told, or settled, by its context' if one.exhausted else 'a dead letter'} |"
        for one in sorted(reactions(), key=lambda one: one.name)
    ]
    head = ["| reaction | answers | once its attempts are used up |", "|---|---|---|"]
    return "\n".join(["## Reactions", "", *head, *rows, ""])


def _jobs() -> str:
    rows = [f"| {job.name} | every {job.every_seconds:g} s |" for job in jobs()]
    return "\n".join(["## Scheduled jobs", "", "| job | when |", "|---|---|", *rows, ""])


def _listed(names: Iterator[str] | Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
