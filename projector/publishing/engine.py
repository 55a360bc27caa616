"""The publishers of one process: one for each broker that is set."""

import asyncio

from eventstore import EventLog
from projector.feed import Feed
from projector.publishing.outlet import Outlet
from projector.publishing.publisher import Publisher
from projector.supervised import ended, supervised
from runtime.mongo import Database
from runtime.settings import Settings


class Publishing:
    """Publishes the log of ``event_log``; wakes with ``feed``."""

    def __init__(self, database: Database, event_log: EventLog, feed: Feed, settings: Settings) -> None:
        self.publishers = [Publisher(database, event_log, feed, outlet) for outlet in outlets(settings)]

    async def run(self) -> None:
        """Publish until canceled."""
        tasks = [supervised(publisher.run) for publisher in self.publishers]
        try:
            await asyncio.Event().wait()
        finally:
            await ended(*tasks)


def outlets(settings: Settings) -> list[Outlet]:
    """A client is imported only where its broker is set: each takes memory, and a while to load."""
    found: list[Outlet] = []
    if settings.kafka_brokers is not None:
        from projector.publishing.kafka import KafkaOutlet

        found.append(KafkaOutlet(settings))
    if settings.rabbitmq_url is not None:
        from projector.publishing.rabbitmq import RabbitOutlet

        found.append(RabbitOutlet(settings))
    return found
