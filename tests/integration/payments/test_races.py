"""What happens between a question to the gateway and its answer: orders expire, processes die, answers come twice.

However it ends, what the gateway keeps is what the order was paid with, and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from command.ordering.model import PaymentStatus
from command.payments import reactions, service
from command.payments.gateway import (
    Cause,
    Charge,
    Charged,
    Declined,
    Gateway,
    GatewayNotReached,
    GatewayUnavailable,
    Refund,
)
from command.steps import Steps
from command.unit_of_work import UnitOfWork
from events.ordering import PaymentRequested
from events.payments import PaymentCaptured, PaymentFailed
from tests.integration.payments.reacting import AMOUNT, World, with_gateway
from tests.integration.projecting import until


class Died(BaseException):
    """The process is gone: nothing catches this."""


class Watched(Gateway):
    """The real gateway, with something happening before it is asked or after it has answered."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        before: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[], Awaitable[None]] | None = None,
        after_refund: Callable[[], Awaitable[None]] | None = None,
        after_void: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._gateway = gateway
        self._before, self._after = before, after
        self._after_refund, self._after_void = after_refund, after_void
        self.charged = 0

    async def charge(self, charge: Charge, cause: Cause) -> Charged | Declined:
        self.charged += 1
        await _happen(self._before)
        answer = await self._gateway.charge(charge, cause)
        await _happen(self._after)
        return answer

    async def refund(self, refund: Refund, cause: Cause) -> None:
        await self._gateway.refund(refund, cause)
        await _happen(self._after_refund)

    async def void(self, payment_id: str, cause: Cause) -> None:
        await self._gateway.void(payment_id, cause)
        await _happen(self._after_void)


async def _happen(something: Callable[[], Awaitable[None]] | None) -> None:
    if something is not None:
        await something()


async def _die() -> None:
    raise Died


def watch(world: World, **happening: Callable[[], Awaitable[None]]) -> Watched:
    gateway = Watched(world.ports.of(Gateway), **happening)
    with_gateway(world, gateway)
    return gateway


def recover(world: World) -> None:
    """Another process takes over, from the last checkpoint."""
    with_gateway(world, world.ports.of(Gateway))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_capture_that_is_answered_after_its_order_expired_is_recorded_and_refunded(
    world: World, moment: str
) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id)

    async def expire() -> None:
        await world.expire(order_id)
        await world.reacting.run("refund")

    watch(world, **{moment: expire})
    await world.reacting.run("payment_capture")
    recover(world)
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentCaptured", "PaymentRefunded"]
    assert await world.charged(payment_id) == ["refunded"]
    assert await world.payment_status(order_id) is PaymentStatus.DECLINED


async def test_a_capture_that_was_recorded_just_before_its_order_expired_is_refunded(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id)
    await world.reacting.run("payment_capture", "refund")
    await world.expire(order_id)

    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentCaptured", "PaymentRefunded"]
    assert await world.charged(payment_id) == ["refunded"]


async def test_a_payment_that_was_rolled_back_before_anybody_asked_for_it_is_not_captured(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, "tok_visa")
    await world.expire(order_id)

    await world.reacting.run("refund")
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == []
    assert await world.charges(payment_id) == []
    assert (await world.saga(payment_id))["card_token"] is None


async def test_points_that_were_used_for_a_payment_that_is_rolled_back_capture_nothing(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, points=50)
    await world.reacting.run()
    await world.expire(order_id)
    await world.reacting.run("refund")

    await world.points_used(order_id, payment_id, 50)
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == []
    assert await world.charges(payment_id) == []


async def test_who_dies_between_the_answer_and_its_record_finds_the_same_charge_again(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id)
    watch(world, after=_die)
    with pytest.raises(Died):
        await world.reacting.run("payment_capture")

    recover(world)
    await world.reacting.run()

    assert await world.charged(payment_id) == ["captured"]
    assert await world.payment_status(order_id) is PaymentStatus.APPROVED


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_who_dies_while_asking_and_comes_back_after_a_rollback_asks_no_more_and_voids(
    world: World, moment: str
) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id)
    watch(world, **{moment: _die})
    with pytest.raises(Died):
        await world.reacting.run("payment_capture")
    await world.expire(order_id)
    recover(world)
    await world.reacting.run("refund")
    second = watch(world)

    await world.reacting.run()

    assert second.charged == 0
    assert await world.reacting.told(payment_id) == ["PaymentFailed", "PaymentVoided"]
    assert await world.charged(payment_id) == (["refunded"] if moment == "after" else [])


async def test_an_answer_that_comes_after_the_payment_was_given_up_and_voided_changes_nothing(world: World) -> None:
    """Two daemons by mistake: one still waits for its answer while the other gives up."""
    order_id = await world.order()
    payment_id = await world.pay(order_id)
    [requested] = [one for one in await world.reacting.events() if isinstance(one.event, PaymentRequested)]

    async def give_up() -> None:
        assert await reactions.give_up(requested, GatewayNotReached("nobody there"), world.ports)
        recover(world)
        await world.reacting.run("payment_void", "checkout")

    watch(world, after=give_up)
    await world.reacting.run("payment_capture")
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentFailed", "PaymentVoided"]
    assert await world.charged(payment_id) == ["refunded"]
    assert await world.payment_status(order_id) is PaymentStatus.DECLINED


async def test_who_dies_between_refund_and_record_refunds_once(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id)
    await world.reacting.run()
    await world.shop.call_off(order_id)
    watch(world, after_refund=_die)
    with pytest.raises(Died):
        await world.reacting.run("refund")

    recover(world)
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentCaptured", "PaymentRefunded"]
    assert await world.charged(payment_id) == ["refunded"]


async def test_who_dies_between_void_and_record_voids_again(world: World) -> None:
    payment_id = await world.pay(await world.order(), "tok_fail")
    await world.reacting.run("payment_capture")
    watch(world, after_void=_die)
    with pytest.raises(Died):
        await world.reacting.run("payment_void")

    recover(world)
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentFailed", "PaymentVoided"]


class Unreachable(Gateway):
    """Nobody there, with one exception perhaps."""

    def __init__(self, *, silent_at: int | None = None) -> None:
        self._silent_at = silent_at
        self._asked = 0

    async def charge(self, _: Charge, __: Cause) -> Charged | Declined:
        self._asked += 1
        if self._asked == self._silent_at:
            raise GatewayUnavailable("no answer")
        raise GatewayNotReached("no connection")


@pytest.mark.parametrize("silent_at", [None, 1, 2, 3])
async def test_a_failure_is_certain_only_if_no_question_can_have_got_there(world: World, silent_at: int | None) -> None:
    payment_id = await world.pay(await world.order())
    with_gateway(world, Unreachable(silent_at=silent_at))

    await world.reacting.run("payment_capture")

    [failed] = [one.event for one in await world.reacting.events() if isinstance(one.event, PaymentFailed)]
    assert (failed.code, failed.is_uncertain) == ("gateway-unavailable", silent_at is not None)
    assert (await world.saga(payment_id))["card_token"] is None


async def test_a_crash_while_asking_makes_a_later_failure_uncertain(world: World) -> None:
    await world.pay(await world.order())
    watch(world, before=_die)
    with pytest.raises(Died):
        await world.reacting.run("payment_capture")
    with_gateway(world, Unreachable())

    await world.reacting.run("payment_capture")

    [failed] = [one.event for one in await world.reacting.events() if isinstance(one.event, PaymentFailed)]
    assert failed.is_uncertain


async def test_a_payment_that_is_rolled_back_while_it_is_given_up_is_voided_without_a_word_to_the_order(
    world: World,
) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id, "tok_fail")

    async def expire() -> None:
        if await world.payment_status(order_id) is PaymentStatus.REQUESTED:
            await world.expire(order_id)
            await world.reacting.run("refund")

    watch(world, before=expire)
    await world.reacting.run("payment_capture")
    recover(world)
    await world.reacting.run()

    assert await world.reacting.told(payment_id) == ["PaymentFailed", "PaymentVoided"]
    assert await world.payment_status(order_id) is PaymentStatus.DECLINED


async def test_a_void_that_cannot_be_done_is_a_dead_letter_and_keeps_no_order_waiting(world: World) -> None:
    class NoVoids(Watched):
        async def void(self, _: str, __: Cause) -> None:
            raise GatewayUnavailable("no answer")

    order_id = await world.order()
    payment_id = await world.pay(order_id, "tok_fail")
    with_gateway(world, NoVoids(world.ports.of(Gateway)))
    await world.reacting.run()
    assert await world.reacting.told(payment_id) == ["PaymentFailed"]
    assert [letter.aggregate_id for letter in world.reacting.letters["payment_void"]] == [payment_id]
    await world.pay(order_id)
    await world.reacting.run()
    assert await world.payment_status(order_id) is PaymentStatus.APPROVED

    recover(world)
    await world.reacting.retry("payment_void")

    assert await world.reacting.told(payment_id) == ["PaymentFailed", "PaymentVoided"]


async def test_a_capture_beside_another_one_of_the_same_event_charges_and_tells_once(world: World) -> None:
    """Two daemons by mistake, at the same moment."""
    payment_id = await world.pay(await world.order())

    async def the_other() -> None:
        recover(world)
        await world.reacting.again("payment_capture", PaymentRequested)

    watch(world, before=the_other)
    await world.reacting.run("payment_capture")

    assert await world.reacting.told(payment_id) == ["PaymentCaptured"]
    assert [charge["amount"] for charge in await world.charges(payment_id)] == [AMOUNT]


async def test_a_capture_of_a_payment_that_stands_is_not_refunded(world: World) -> None:
    order_id = await world.order()
    payment_id = await world.pay(order_id)
    await world.reacting.run()

    await world.reacting.again("refund", PaymentCaptured)

    assert await world.charged(payment_id) == ["captured"]
    assert await world.payment_status(order_id) is PaymentStatus.APPROVED


async def test_an_answer_that_is_recorded_beside_another_waits_for_it_and_finds_it(world: World) -> None:
    payment_id = await world.pay(await world.order())
    watch(world, after=_die)
    with pytest.raises(Died):
        await world.reacting.run("payment_capture")
    steps, entered, leave = world.ports.of(Steps), asyncio.Event(), asyncio.Event()

    async def settle(uow: UnitOfWork) -> None:
        await service.settle(uow, payment_id, Charged("ch-1"))

    async def settle_slowly(uow: UnitOfWork) -> None:
        await settle(uow)
        entered.set()
        await leave.wait()

    first = asyncio.create_task(steps.take(None, settle_slowly))
    await entered.wait()
    second = asyncio.create_task(steps.take(None, settle))
    await until(world.somebody_waits_for_a_lock, "the second step")
    leave.set()
    await asyncio.gather(first, second)

    assert await world.reacting.told(payment_id) == ["PaymentCaptured"]
