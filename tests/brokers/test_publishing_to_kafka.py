"""Kafka: the log in its order, over restarts, brokers that fail, and two projectors."""

from itertools import pairwise
from pathlib import Path

from projector.daemon import Daemon
from projector.publishing.progress import PUBLISHERS
from runtime.mongo import mongo_database
from runtime.settings import Settings
from tests.brokers.kafka import free_address, mock_cluster, tansu
from tests.brokers.publishing import as_in_the_log, consumed, event_of, positions_of, published, publishing
from tests.integration.projecting import until
from tests.integration.reacting import Stock

PRODUCTS = [f"p-{number}" for number in range(40)]
_NOT_ENOUGH_REPLICAS, _REQUEST_TIMED_OUT, _NOT_LEADER = 19, 7, 6


async def test_every_event_is_in_the_partition_of_its_aggregate_in_the_order_of_the_log(
    kafka_settings: Settings, stock: Stock
) -> None:
    for _ in range(5):
        await stock.adjust(*PRODUCTS)
    async with publishing(kafka_settings) as publisher:
        await published(publisher, 200)
        await stock.adjust(*PRODUCTS)
        await published(publisher, 240)

    found = await consumed(kafka_settings, 240)
    assert len(found) == kafka_settings.kafka_partitions
    for messages in found.values():
        assert positions_of(messages) == sorted(positions_of(messages))
        for message in messages:
            assert (message.key() or b"").decode() == event_of(message)["aggregateid"]
    told = sorted((event_of(one) for messages in found.values() for one in messages), key=lambda e: e["position"])
    assert told == await as_in_the_log(kafka_settings)


async def test_an_aggregate_stays_in_its_partition(kafka_settings: Settings, stock: Stock) -> None:
    for _ in range(3):
        await stock.adjust(*PRODUCTS)
    async with publishing(kafka_settings) as publisher:
        await published(publisher, 120)
    found = await consumed(kafka_settings, 120)
    partitions_of = [
        {number for number, messages in found.items() if any(one.key() == product.encode() for one in messages)}
        for product in PRODUCTS
    ]
    assert [len(partitions) for partitions in partitions_of] == [1] * len(PRODUCTS)


async def test_who_goes_on_begins_after_the_checkpoint(kafka_settings: Settings, stock: Stock) -> None:
    await stock.adjust(*PRODUCTS)
    async with publishing(kafka_settings) as publisher:
        await published(publisher, 40)
    await stock.adjust(*PRODUCTS)
    async with publishing(kafka_settings) as publisher:
        await published(publisher, 80)
    found = await consumed(kafka_settings, 80)
    assert sorted(position for messages in found.values() for position in positions_of(messages)) == [*range(1, 81)]


async def test_what_a_crash_before_the_checkpoint_repeats_comes_in_order(
    kafka_settings: Settings, stock: Stock
) -> None:
    for _ in range(3):
        await stock.adjust(*PRODUCTS)
    async with publishing(kafka_settings) as publisher:
        await published(publisher, 120)
    # As if it had been killed when the broker had everything and the checkpoint had not.
    database = mongo_database(kafka_settings, "test")
    await database[PUBLISHERS].update_one({"_id": "kafka"}, {"$set": {"position": 70}})
    database.client.close()
    async with publishing(kafka_settings) as publisher:
        await published(publisher, 120)

    for messages in (await consumed(kafka_settings, 170)).values():
        seen, fresh = 0, []
        for position in positions_of(messages):
            if position > seen:
                fresh.append(position)
                seen = position
        assert fresh == sorted(set(positions_of(messages)))


async def test_two_projectors_publish_everything_once(kafka_settings: Settings, stock: Stock) -> None:
    async with publishing(kafka_settings) as first, publishing(kafka_settings) as second:
        await stock.adjust(*PRODUCTS)

        async def is_there() -> bool:
            return max(first.position, second.position) >= len(PRODUCTS)

        await until(is_there, "published")
        assert sorted([first.state, second.state]) == ["active", "standby"]
    found = await consumed(kafka_settings, 40)
    assert sorted(position for messages in found.values() for position in positions_of(messages)) == [*range(1, 41)]


async def test_requests_that_fail_leave_no_gap_and_change_no_order(settings: Settings, stock: Stock) -> None:
    with mock_cluster(3, "events", 8) as cluster:
        faulty = settings.model_copy(update={"kafka_brokers": cluster.address, "kafka_topic": "events"})
        for _ in range(10):
            await stock.adjust(*PRODUCTS)
        async with publishing(faulty) as publisher:
            await published(publisher, 400)
            cluster.fail_produce(_NOT_ENOUGH_REPLICAS, _REQUEST_TIMED_OUT, _NOT_LEADER, _NOT_ENOUGH_REPLICAS)
            for _ in range(5):
                await stock.adjust(*PRODUCTS)
            await published(publisher, 600)
        found = await consumed(faulty, 600)
    positions = [positions_of(messages) for messages in found.values()]
    assert sorted(position for one in positions for position in one) == [*range(1, 601)]
    assert all(earlier < later for one in positions for earlier, later in pairwise(one))


async def test_brokers_that_are_away_are_waited_for_and_said_so(settings: Settings, stock: Stock) -> None:
    with mock_cluster(1, "events", 8) as cluster:
        faulty = settings.model_copy(update={"kafka_brokers": cluster.address, "kafka_topic": "events"})
        daemon = Daemon(faulty)
        async with daemon.running():
            [publisher] = daemon.publishing.publishers
            await stock.adjust(*PRODUCTS)
            await published(publisher, 40)
            cluster.down(1)
            await stock.adjust(*PRODUCTS)

            async def is_in_trouble() -> bool:
                return "Kafka" in (publisher.trouble or "")

            await until(is_in_trouble, "trouble")
            # A broker is no store of ours: everything else goes on, and so does the process.
            await daemon.projections_work()
            cluster.up(1)
            await published(publisher, 80)

            async def is_well() -> bool:
                return publisher.trouble is None

            await until(is_well, "no trouble")
        found = await consumed(faulty, 80)
    assert sorted(position for messages in found.values() for position in positions_of(messages)) == [*range(1, 81)]


async def test_a_broker_that_starts_after_the_projector_gets_everything(
    settings: Settings, stock: Stock, tmp_path: Path
) -> None:
    address = free_address()
    faulty = settings.model_copy(update={"kafka_brokers": address})
    await stock.adjust(*PRODUCTS)
    async with publishing(faulty) as publisher:

        async def waits() -> bool:
            return publisher.state == "waiting"

        await until(waits, "waiting")
        with tansu(tmp_path, address):
            await published(publisher, 40)
