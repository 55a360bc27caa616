"""The points' part in the checkout saga, on a real database: every step in every order, again, and at the same time."""

import asyncio
from collections.abc import AsyncIterator
from itertools import permutations

import pytest

from command.points import service
from command.points.reactions import points as reaction
from command.points.storage import PointsSagas
from events.envelope import Envelope
from tests.integration.projecting import until
from tests.points import Daemon, a_daemon, declined, failed, refunded, requested

CALLED_OFF = {"failed": failed(), "refunded": refunded(), "declined": declined()}


@pytest.fixture
async def daemon(postgres_url: str) -> AsyncIterator[Daemon]:
    """A daemon; Ann has 100 points."""
    async with a_daemon(postgres_url) as daemon:
        await daemon.charge("ann", 100)
        yield daemon


async def told(daemon: Daemon, *envelopes: Envelope) -> list[str]:
    """What is told of the payment once these have been delivered, one by one."""
    for envelope in envelopes:
        await daemon.deliver(envelope)
    return await daemon.events()


async def payload(daemon: Daemon, event_type: str) -> dict[str, object]:
    """Of the one event of this type."""
    [found] = [row["payload"] for row in await daemon.told() if row["event_type"] == event_type]
    return dict(found)


async def test_a_payment_takes_its_points_and_tells_so(daemon: Daemon) -> None:
    assert await told(daemon, requested(60)) == ["PointsUsed"]

    assert await daemon.balances() == {"ann": 40}
    assert (await daemon.ledger())[-1] == {
        "member_id": "ann",
        "version": 2,
        "kind": "used",
        "points": -60,
        "balance": 40,
        "payment_id": "pay-1",
        "order_id": "o-1",
        "reason": None,
    }
    assert await daemon.faults() == []


@pytest.mark.parametrize("member_id", ["ann", "a buyer without an account"])
async def test_a_payment_that_wants_too_many_points_takes_none_and_tells_so(daemon: Daemon, member_id: str) -> None:
    assert await told(daemon, requested(101, member_id=member_id)) == ["PointsRejected"]

    assert (await daemon.balances())["ann"] == 100
    assert await payload(daemon, "PointsRejected") == {
        "order_id": "o-1",
        "payment_id": "pay-1",
        "points": 101,
        "balance": 100 if member_id == "ann" else 0,
    }
    assert await daemon.faults() == []


@pytest.mark.parametrize(
    "envelope",
    [requested(0), requested(60, method="recorded"), failed(0), refunded(0)],
    ids=["no points asked for", "settled elsewhere", "failed without points", "refunded without points"],
)
async def test_what_is_no_business_of_the_points_leaves_no_trace(daemon: Daemon, envelope: Envelope) -> None:
    assert await told(daemon, envelope) == []
    assert await daemon.saga() is None


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (failed(), {"failure_code": "card-declined", "reason": "No money."}),
        (declined(), {"failure_code": "expired", "reason": "The order was not paid in time."}),
        (refunded(), {"failure_code": None, "reason": None}),
    ],
    ids=CALLED_OFF,
)
async def test_the_points_of_a_payment_that_came_to_nothing_come_back_with_the_reason_why(
    daemon: Daemon, event: Envelope, why: dict[str, str | None]
) -> None:
    assert await told(daemon, requested(60), event) == ["PointsUsed", "PointsReturned"]

    expected = {"order_id": "o-1", "payment_id": "pay-1", "points": 60, "balance": 100, **why}
    assert await payload(daemon, "PointsReturned") == expected
    assert await daemon.balances() == {"ann": 100}
    assert await daemon.faults(["pay-1"]) == []


@pytest.mark.parametrize("balance_suffices", [True, False])
@pytest.mark.parametrize("order", [*permutations(CALLED_OFF)], ids="-".join)
async def test_points_come_back_once_whichever_says_so_first_and_however_often(
    daemon: Daemon, order: tuple[str, ...], balance_suffices: bool
) -> None:
    ask, ends = requested(60 if balance_suffices else 101), [CALLED_OFF[name] for name in order]

    found = await told(daemon, ask, ask, *ends, ask, *ends, ask)

    assert found == (["PointsUsed", "PointsReturned"] if balance_suffices else ["PointsRejected"])
    assert await daemon.balances() == {"ann": 100}
    assert await daemon.faults(["pay-1"]) == []


@pytest.mark.parametrize("end", [*CALLED_OFF.values()], ids=CALLED_OFF)
async def test_a_payment_that_was_called_off_before_its_points_were_taken_takes_none(
    daemon: Daemon, end: Envelope
) -> None:
    assert await told(daemon, end, requested(60), end, requested(60)) == []

    assert await daemon.saga() == "rolled_back"
    assert await daemon.balances() == {"ann": 100}


async def test_another_payment_of_the_same_order_is_another_one(daemon: Daemon) -> None:
    await told(daemon, requested(60), failed(), declined(), requested(70, payment_id="pay-2"))

    assert await daemon.events("pay-2") == ["PointsUsed"]
    assert await daemon.balances() == {"ann": 30}
    assert await daemon.faults(["pay-1"]) == []


async def test_what_came_back_is_what_was_taken_whatever_the_other_context_says(daemon: Daemon) -> None:
    await told(daemon, requested(60), failed(99, member_id="ben"))

    assert await daemon.balances() == {"ann": 100}


async def test_a_step_carries_its_cause(daemon: Daemon) -> None:
    await daemon.deliver(requested(60))

    [row] = await daemon.rows("SELECT causation_id::text FROM outbox WHERE event_type = 'PointsUsed'")
    assert row["causation_id"] == requested().event_id


def test_all_events_of_an_order_are_of_one_sequence() -> None:
    assert {reaction.sequence_of(one) for one in (requested(), failed(), refunded(), declined())} == {"o-1"}


async def test_fifty_payments_at_once_queue_up_and_cannot_overspend(daemon: Daemon, postgres_url: str) -> None:
    payments = [requested(7, payment_id=f"pay-{n}", order_id=f"o-{n}") for n in range(50)]
    async with a_daemon(postgres_url) as other:
        # None may fail: a payment that lost a race would be tried again a few times, and then be a dead letter.
        await asyncio.gather(*((daemon, other)[n % 2].deliver(payment) for n, payment in enumerate(payments)))

    outcomes = [await daemon.events(f"pay-{n}") for n in range(50)]
    assert (outcomes.count(["PointsUsed"]), outcomes.count(["PointsRejected"])) == (14, 36)
    assert await daemon.balances() == {"ann": 2}
    assert await daemon.faults() == []


async def test_charges_uses_and_returns_at_once_all_count(daemon: Daemon, postgres_url: str) -> None:
    payments = [{"payment_id": f"pay-{n}", "order_id": f"o-{n}"} for n in range(20)]
    await daemon.charge("ann", 900)
    for payment in payments[:10]:
        await daemon.deliver(requested(10, **payment))
    async with a_daemon(postgres_url) as other:
        await asyncio.gather(
            *(daemon.charge("ann", 1) for _ in range(10)),
            *(other.deliver(requested(10, **payment)) for payment in payments[10:]),
            *(other.deliver(failed(10, **payment)) for payment in payments[:10]),
        )

    assert await daemon.balances() == {"ann": 1000 + 10 - 100}
    assert await daemon.faults([payment["payment_id"] for payment in payments[:10]]) == []


async def test_of_many_first_charges_at_once_all_count(daemon: Daemon) -> None:
    await asyncio.gather(*(daemon.charge("new", 5) for _ in range(20)))

    assert (await daemon.balances())["new"] == 100
    assert await daemon.faults() == []


async def test_an_event_that_two_daemons_answer_at_once_has_its_effect_once(daemon: Daemon, postgres_url: str) -> None:
    async with a_daemon(postgres_url) as other:
        for n in range(10):
            about = {"payment_id": f"pay-{n}", "order_id": f"o-{n}"}
            for envelope in (requested(60, **about), failed(60, **about)):
                await asyncio.gather(*(one.deliver(envelope) for one in (daemon, other) * 3))

    assert [await daemon.events(f"pay-{n}") for n in range(10)] == [["PointsUsed", "PointsReturned"]] * 10
    assert await daemon.faults([f"pay-{n}" for n in range(10)]) == []


async def test_a_request_that_meets_the_same_payment_being_called_off_takes_nothing(
    daemon: Daemon, postgres_url: str
) -> None:
    async with a_daemon(postgres_url) as other, daemon.transactions.begin() as slow:
        await service.give_back_points(slow, payment_id="pay-1", order_id="o-1")
        await slow.repository(PointsSagas).save()
        # It finds no record of the payment: that is not committed yet.
        meeting = asyncio.create_task(other.deliver(requested(60)))
        await until(lambda: is_waiting(daemon), "the request waits")
        await slow.connection.commit()
        await meeting

    assert await daemon.events() == []
    assert await daemon.balances() == {"ann": 100}


async def test_a_payment_that_is_called_off_while_it_takes_its_points_gives_them_back(
    daemon: Daemon, postgres_url: str
) -> None:
    async with a_daemon(postgres_url) as other, daemon.transactions.begin() as slow:
        await service.use_points(slow, payment_id="pay-1", order_id="o-1", member_id="ann", points=60)
        await slow.write()
        meeting = asyncio.create_task(other.deliver(declined()))
        await until(lambda: is_waiting(daemon), "the decline waits")
        await slow.connection.commit()
        await meeting

    assert await daemon.events() == ["PointsUsed", "PointsReturned"]
    assert await daemon.balances() == {"ann": 100}


async def is_waiting(daemon: Daemon) -> bool:
    """Whether a transaction of this test's database waits for another's lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await daemon.rows(waiting))
