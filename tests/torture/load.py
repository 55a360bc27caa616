"""A mixed load from several clients at once, for as long as a run: orders through their whole lives, stock, prices,
sign-ups, and somebody who follows the event feed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.torture import commands
from tests.torture.client import Client, a_client
from tests.torture.commands import PRODUCTS
from tests.torture.ledger import Acknowledged, Command, Ledger
from tests.torture.stack import Stack

_PAUSE_SECONDS = 0.12
"""Between two commands of a trader: the load is to be mixed, not heavy."""


async def open_shop(stack: Stack, ledger: Ledger) -> None:
    """The products that everything is about."""
    async with a_client(stack, ledger, "opener", "staff") as staff:
        for number, product_id in enumerate(PRODUCTS):
            category = f"category {number % 3}"
            await staff.do(
                commands.register_product(product_id, category=category, unit_price=100 + 7 * number, stock=10**9)
            )


class Trader:
    """A customer, and the clerk who serves them: orders one after the other, as chance will have it."""

    def __init__(self, customer: Client, clerk: Client) -> None:
        self._customer, self._clerk, self._chance = customer, clerk, customer.chance
        self._placed = 0

    async def trade(self, over: asyncio.Event) -> None:
        """Until it is over."""
        while not over.is_set():
            await self._order()
            await self._stock()

    async def _order(self) -> None:
        chance = self._chance
        lines = [(chance.choice(PRODUCTS), chance.randint(1, 5)) for _ in range(chance.randint(1, 4))]
        placed_before = self._clerk.ledger.placed
        placed = await self._do(self._customer, commands.place_order(lines, self._customer.unique()))
        if placed is None:
            return
        self._placed += 1
        await self._look_at_all(placed, placed_before)
        order_id, seen = placed.aggregate[1], placed.version
        if chance.random() < 0.3:
            redirected = await self._do(
                self._customer, commands.redirect(order_id, self._customer.unique()), version=seen
            )
            seen = redirected.version if redirected else seen
        if chance.random() < 0.2:
            await self._pay(order_id, "tok_declined")
        if chance.random() < 0.8:
            await self._pay(order_id, chance.choice(commands.CARDS))
            if chance.random() < 0.2:
                await self._race(order_id)
            elif chance.random() < 0.5:
                await self._deliver(order_id)
        if chance.random() < 0.4:
            await self._do(self._clerk, commands.cancel(order_id, self._clerk.unique()))

    async def _pay(self, order_id: str, card_token: str) -> None:
        await self._do(self._customer, commands.pay(order_id, card_token))
        if self._chance.random() < 0.9:
            await self._customer.until_settled(order_id)

    async def _deliver(self, order_id: str) -> None:
        await self._do(self._clerk, commands.ship(order_id, self._clerk.unique()))
        await self._do(self._clerk, commands.start_delivery(order_id))
        await self._do(self._clerk, commands.complete_delivery(order_id))

    async def _race(self, order_id: str) -> None:
        """Two who want something else of the same order at the same moment."""
        await asyncio.gather(
            self._do(self._customer, commands.cancel(order_id, self._customer.unique())),
            self._do(self._clerk, commands.ship(order_id, self._clerk.unique())),
            self._do(self._clerk, commands.redirect(order_id, self._clerk.unique())),
        )

    async def _stock(self) -> None:
        chance, clerk = self._chance, self._clerk
        product_id = chance.choice(PRODUCTS)
        if chance.random() < 0.3:
            change = commands.change_product(product_id, chance.randint(1, 5_000), clerk.unique())
        else:
            change = commands.adjust_stock(product_id, chance.randint(1, 9), clerk.unique())
        done = await self._do(clerk, change)
        if done is None or chance.random() < 0.5:
            return
        found = await clerk.read(f"/products/{product_id}", done)
        if found is not None and found["version"] < done.version:
            clerk.wrong(f"product after {done.answer}", found)

    async def _do(self, client: Client, command: Command, *, version: int | None = None) -> Acknowledged | None:
        done = await client.do(command, version=version)
        if done is not None and command.kind == "order" and self._chance.random() < 0.5:
            await client.read_order(done)
        await asyncio.sleep(self._chance.uniform(0, 2 * _PAUSE_SECONDS))
        return done

    async def _look_at_all(self, placed: Acknowledged, placed_before: int) -> None:
        chance, customer = self._chance, self._customer
        if chance.random() < 0.3:
            profile = await customer.read("/members/me", placed)
            if profile is not None and profile["order_count"] < self._placed:
                customer.wrong(f"profile after {self._placed} orders", profile)
        if chance.random() < 0.3:
            page = await customer.read("/orders?limit=5", placed)
            if page is not None and placed.aggregate[1] not in [item["order_id"] for item in page["items"]]:
                customer.wrong(f"orders of {customer.subject} after {placed.answer}", page["items"])
        if chance.random() < 0.3:
            await self._clerk.read_statistics(placed, placed_before + 1)


async def follow(client: Client, over: asyncio.Event) -> None:
    """Follow the event feed as another service would, from the first event on."""
    ledger = client.ledger
    while not over.is_set():
        after = ledger.seen[-1]["position"] if ledger.seen else 0
        answer = await client.ask("command-api", "GET", f"/events?after={after}&limit=500")
        events = answer.json() if answer is not None and answer.is_success else []
        if events and [one["position"] for one in events] != list(range(after + 1, after + 1 + len(events))):
            client.wrong(f"the feed after {after}", [one["position"] for one in events])
        ledger.seen.extend(events)
        if not events:
            await asyncio.sleep(0.5)


@asynccontextmanager
async def trading(stack: Stack, ledger: Ledger, seed: int, *, traders: int) -> AsyncIterator[None]:
    """The load, for as long as the block; each client ends with what it has begun."""
    over = asyncio.Event()
    async with AsyncExitStack() as clients:

        async def client(role: str, scope: str, subject: str | None = None) -> Client:
            made = a_client(stack, ledger, subject or role, scope, seed=f"{seed} {role}")
            return await clients.enter_async_context(made)

        visitor = await client("visitor", "customer")
        tasks = [asyncio.create_task(follow(await client("follower", "operator"), over))]
        for number in range(traders):
            member = await visitor.do(commands.register_member(visitor.unique()))
            buyer = await client(f"buyer-{number}", "customer", member.aggregate[1] if member else None)
            trader = Trader(buyer, await client(f"clerk-{number}", "staff"))
            tasks.append(asyncio.create_task(trader.trade(over)))
        # A client that crashes must not look like one that found nothing.
        watching = asyncio.gather(*tasks)
        try:
            yield
        except BaseException:
            watching.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        over.set()
        await watching
