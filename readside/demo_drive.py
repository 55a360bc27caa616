"""Drives a lively shop: orders arrive at their own rate, whether or not the shop keeps up (an open loop)."""

import asyncio
import signal
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from readside.demo_day import Story, day
from readside.demo_poison import poison_and_heal
from readside.demo_shop import Member, Refused, Shop, unreachable
from readside.demo_tally import Shown, Tally
from readside.errors import StartError

MOST_AT_ONCE = 500
FIRST_POISON_SECONDS, POISON_EVERY_SECONDS = 3.0, 60.0


@dataclass(frozen=True, slots=True)
class Drive:
    """What is asked for; ``seconds`` none: until Ctrl-C. ``door`` is where to put poison, if at all."""

    command: str
    query: str
    projector: str
    token: str
    rate: float
    seconds: float | None
    seed: int
    door: str | None
    heal_after_seconds: float


async def drive(asked: Drive, tally: Tally, shown: Shown) -> None:
    """Until the time is over, or canceled; then the orders under way are let go, and poison is healed."""
    trading = asyncio.current_task()
    assert trading is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, trading.cancel)  # as Ctrl-C does
    async with httpx.AsyncClient(timeout=15, limits=httpx.Limits(max_connections=100)) as client:
        shop = Shop(client, command=asked.command, query=asked.query, projector=asked.projector, token=asked.token)
        try:
            products, members = await shop.open()
        except httpx.TransportError as error:
            raise unreachable(str(error.request.url)) from None
        except Refused as refused:
            raise StartError(f"the day cannot begin: {refused}") from None
        day_of = _Day(shop, products, members, tally)
        others = [asyncio.create_task(_refreshing(shown))]
        if asked.door is not None:
            others.append(asyncio.create_task(_poisoning(shop, asked, tally, shown)))
        try:
            await day_of.trade(asked)
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)


class _Day:
    """The stories under way."""

    def __init__(self, shop: Shop, products: list[str], members: list[Member], tally: Tally) -> None:
        self._shop, self._products, self._members, self._tally = shop, products, members, tally
        self._under_way: set[asyncio.Task[None]] = set()

    async def trade(self, asked: Drive) -> None:
        """An order every so often; at the end those under way have a few seconds."""
        began = time.monotonic()
        try:
            for story in day(asked.seed, products=len(self._products)):
                due = began + story.number / asked.rate
                if asked.seconds is not None and due - began >= asked.seconds:
                    break
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self._begin(story)
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=15)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def _begin(self, story: Story) -> None:
        if len(self._under_way) >= MOST_AT_ONCE:
            self._tally.failed("too many orders under way: the shop does not keep up with --rate")
            return
        task = asyncio.create_task(self._told(self._live(story)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _told(self, story: Coroutine[Any, Any, None]) -> None:
        try:
            await story
        except (Refused, httpx.HTTPError) as error:
            self._tally.failed(str(error) or type(error).__name__)

    async def _live(self, story: Story) -> None:
        shop, count = self._shop, self._tally.counts
        member = self._members[story.buyer % len(self._members)]
        lines = [{"product_id": self._products[product], "quantity": quantity} for product, quantity in story.lines]
        order_id, seconds = await shop.place(member, lines)
        count["placed"] += 1
        self._tally.saw(seconds)
        await asyncio.sleep(story.pauses[0])
        if story.fate == "canceled unpaid":
            await self._cancel(order_id, member)
            return
        by_points = story.fate == "by points"
        body = {"method": "points"} if by_points else {"method": "card", "card_token": story.card_token}
        await shop.post(f"/orders/{order_id}/pay", body, member.token)
        status = await shop.settled(order_id)
        count["paid" if status == "APPROVED" else "declined"] += status in ("APPROVED", "DECLINED")
        await asyncio.sleep(story.pauses[1])
        if status == "APPROVED":
            await self._fulfil(order_id, member, story)

    async def _fulfil(self, order_id: str, member: Member, story: Story) -> None:
        shop, count = self._shop, self._tally.counts
        if story.fate == "canceled paid":
            await self._cancel(order_id, member)
        elif story.fate in ("shipped", "delivered", "reviewed"):
            parcel = {"carrier": "Example Post", "tracking_number": f"EP{story.number:08d}"}
            await shop.post(f"/orders/{order_id}/ship", parcel)
            count["shipped"] += 1
            if story.fate != "shipped":
                await asyncio.sleep(story.pauses[2])
                await shop.post(f"/orders/{order_id}/start-delivery", {})
                await asyncio.sleep(story.pauses[3])
                await shop.post(f"/orders/{order_id}/complete-delivery", {})
                count["delivered"] += 1
            if story.fate == "reviewed":
                await self._review(member, story)

    async def _cancel(self, order_id: str, member: Member) -> None:
        await self._shop.post(f"/orders/{order_id}/cancel", {"reason": "Changed my mind."}, member.token)
        self._tally.counts["canceled"] += 1

    async def _review(self, member: Member, story: Story) -> None:
        product_id = self._products[story.lines[0][0]]
        review = {"product_id": product_id, "kind": "review", "title": "As described", "body": "Came within a minute."}
        await self._shop.post("/posts", review | {"rating": story.rating}, member.token)
        self._tally.counts["reviewed"] += 1


async def _poisoning(shop: Shop, asked: Drive, tally: Tally, shown: Shown) -> None:
    assert asked.door is not None
    await asyncio.sleep(FIRST_POISON_SECONDS)
    while True:
        try:
            await poison_and_heal(shop, asked.door, tally, shown.say, heal_after_seconds=asked.heal_after_seconds)
        except (Refused, httpx.HTTPError, TimeoutError) as error:
            tally.failed(f"poison: {error or type(error).__name__}")
        await asyncio.sleep(POISON_EVERY_SECONDS)


async def _refreshing(shown: Shown) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            shown.refresh()
            await asyncio.sleep(shown.every_seconds)
