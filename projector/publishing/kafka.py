"""To Kafka: one topic, keyed by aggregate id, in the binary mode of the CloudEvents Kafka binding.

Within a partition positions only rise, but for what is repeated. The idempotent producer keeps the order while it sends
again what was not confirmed, and never gives up on an event by itself (``message.timeout.ms=0``): to go past one would
put its successors before it. An error that would leave a gap ends the producer (``enable.gapless.guarantee``), and the
publisher begins again after its checkpoint.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it does, without a word

from eventstore.cloud_events import DATA, attributes
from eventstore.log import StoredEvent
from projector.publishing.outlet import BrokerAway, Send
from runtime.settings import Settings

log = structlog.get_logger()

_FLUSH_SECONDS = 0.25
_CONNECT_SECONDS = 10.0
_BROKERS_DEFAULT = -1
_MOST_BYTES = 2 * 1024 * 1024
"""Of one event: above what the largest order that the command API takes makes."""


class KafkaOutlet:
    """The topic of the settings; made, with its partitions, where it is not there."""

    name = "kafka"
    from_beginning = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """What librdkafka said last of its brokers, until a batch gets through."""
        return self._trouble

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Send]:
        """A producer of one owner's. Raises `BrokerAway`."""
        await asyncio.to_thread(self._make_topic)
        producer = Producer(
            {
                **client_options(self._settings, self._told),
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "acks": "all",
                "message.timeout.ms": 0,
                "message.max.bytes": _MOST_BYTES,
                "compression.type": "lz4",
                # As Java's clients: a partition is then the same one whoever computes it.
                "partitioner": "murmur2_random",
            }
        )
        try:
            yield partial(self._send, producer)
        finally:
            producer.purge()
            await asyncio.to_thread(producer.flush, _FLUSH_SECONDS)

    async def _send(self, producer: Producer, events: Sequence[StoredEvent]) -> None:
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        try:
            for event in events:
                producer.produce(
                    self._settings.kafka_topic,
                    key=event.aggregate_id.encode(),
                    value=event.payload.encode(),
                    headers=binary_headers(event),
                    timestamp=int(event.occurred_at.timestamp() * 1000),
                    on_delivery=delivered,
                )
        except KafkaException as error:
            raise BrokerAway(_sentence(error.args[0])) from None
        # In slices: who is canceled meanwhile waits for one of them, and not for the broker.
        while await asyncio.to_thread(producer.flush, _FLUSH_SECONDS):
            if failures:
                break
        if failures:
            raise BrokerAway(_sentence(failures[0]))
        self._trouble = None

    def _make_topic(self) -> None:
        name = self._settings.kafka_topic
        admin = AdminClient(client_options(self._settings, self._told))
        try:
            if name in admin.list_topics(timeout=_CONNECT_SECONDS).topics:
                return
            topic = NewTopic(
                name,
                self._settings.kafka_partitions,
                self._settings.kafka_replication or _BROKERS_DEFAULT,
                # The log is kept for good: whoever comes later reads it from its first event.
                config={"retention.ms": "-1", "max.message.bytes": str(_MOST_BYTES)},
            )
            admin.create_topics([topic])[name].result(_CONNECT_SECONDS)
            log.info("made the topic", topic=name, partitions=self._settings.kafka_partitions)
        except KafkaException as error:
            # Another projector may have made it meanwhile.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerAway(_sentence(error.args[0])) from None
        except TimeoutError:
            raise BrokerAway("Kafka did not answer in time") from None

    def _told(self, error: KafkaError) -> None:
        told = _sentence(error)
        if told != self._trouble:
            log.warning("trouble with Kafka", error=told)
        self._trouble = told


def binary_headers(event: StoredEvent) -> list[tuple[str, str | bytes | None]]:
    """The attributes as the binding's binary mode has them; the value of the message is the data alone."""
    told = attributes(event)
    del told["datacontenttype"]
    return [("content-type", DATA), *((f"ce_{name}", str(value)) for name, value in told.items())]


def client_options(settings: Settings, on_error: Any) -> dict[str, Any]:
    """What every client of the brokers is told, TLS and SASL among it."""
    options: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_brokers,
        "client.id": "readside",
        "error_cb": on_error,
        "log_level": 0,  # what it says on standard error is no line of our log; errors come by the callback
        "reconnect.backoff.max.ms": 1000,  # brokers that are back are to be noticed soon
    }
    user = settings.kafka_user
    options["security.protocol"] = f"{'SASL_' if user else ''}{'SSL' if settings.kafka_tls else 'PLAINTEXT'}"
    if settings.kafka_ca_file is not None:
        options["ssl.ca.location"] = str(settings.kafka_ca_file)
    if user:
        assert settings.kafka_password is not None
        options |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": user,
            "sasl.password": settings.kafka_password.get_secret_value(),
        }
    return options


def _sentence(error: KafkaError) -> str:
    return f"Kafka: {error.name()}: {error.str()}"[:300]
