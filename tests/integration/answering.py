"""Reactions without the daemon: a handler is given an envelope and ports, as the daemon would."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from command.bootstrap import before_commit_handlers
from command.steps import Steps
from command.unit_of_work import Transactions
from events.envelope import DomainEvent, Envelope, aggregate_type_of
from events.reaction import Ports, Reaction
from eventstore import Doorbell
from runtime.clock import now
from runtime.ids import new_id
from runtime.postgres import make_engine, postgres_url
from runtime.settings import Settings

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def told(event: DomainEvent, aggregate_id: str, *, position: int = 1, version: int = 1) -> Envelope:
    """An event as the log tells it."""
    return Envelope(
        position=position,
        event_id=new_id(),
        event_type=type(event).__name__,
        schema_version=type(event).schema_version,
        aggregate_type=aggregate_type_of(event),
        aggregate_id=aggregate_id,
        aggregate_version=version,
        occurred_at=now(),
        recorded_at=now(),
        correlation_id="request-1",
        causation_id=None,
        traceparent=TRACEPARENT,
        snapshot=None,
        event=event,
    )


async def answer(reaction: Reaction, envelope: Envelope, ports: Ports) -> None:
    """What the daemon does with an event, once."""
    await reaction.answers[type(envelope.event)].handler(envelope, ports)


@asynccontextmanager
async def ports_with_steps(settings: Settings, others: Mapping[type[Any], Any]) -> AsyncIterator[Ports]:
    """Ports whose steps are taken in this database."""
    url = postgres_url(settings)
    engine = make_engine(url, "reactions of a test", pool_size=4)
    try:
        async with Doorbell(url) as doorbell:
            steps = Steps(Transactions(engine, before_commit_handlers(), doorbell))
            yield Ports({Settings: settings, Steps: steps, **others})
    finally:
        await engine.dispose()
