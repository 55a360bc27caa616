"""What goes wrong: each fault is done, and undone, by one function. How everything recovers is not its business."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import pymongo
from pymongo.errors import PyMongoError

from runtime.mongo import Database, mongo_database
from tests.torture import commands
from tests.torture.client import PATIENCE_SECONDS, Client
from tests.torture.commands import PRODUCTS
from tests.torture.disk import Disk
from tests.torture.ledger import Acknowledged, Json
from tests.torture.stack import Stack

T = TypeVar("T")

_DAMAGE = {"version": "this is no version"}
_BALLAST = "ballast"
_LONGER_THAN_A_LEASE_SECONDS = 4.5


class Impossible(Exception):
    """This fault cannot be had on this machine, and why."""


class NotRecovered(Exception):
    """Something did not come back, or did not become true, however long it was waited for."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault works on. ``operator`` has every scope."""

    stack: Stack
    operator: Client
    chance: random.Random
    disk: Disk | None


Fault = Callable[[Scene], Awaitable[None]]


def killed(name: str) -> Fault:
    """SIGKILL; the supervisor starts it again."""

    async def kill(scene: Scene) -> None:
        before = scene.stack.process(name)
        scene.stack.signal(name, signal.SIGKILL)
        await scene.stack.restarted(name, before)

    return kill


def paused(name: str, seconds: float = _LONGER_THAN_A_LEASE_SECONDS) -> Fault:
    """SIGSTOP, and SIGCONT a while later: the process does not know that time has passed."""

    async def pause(scene: Scene) -> None:
        scene.stack.signal(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            scene.stack.signal(name, signal.SIGCONT)

    return pause


def cut_off(name: str) -> Fault:
    """The projectors' connections to a database are reset, and new ones refused, for a while."""

    async def cut(scene: Scene) -> None:
        network = scene.stack.network[name]
        network.cut()
        try:
            await asyncio.sleep(scene.chance.uniform(1, 3))
        finally:
            network.heal()

    return cut


def silenced(name: str) -> Fault:
    """The projectors' connections to a database carry nothing any more, for ever; new ones do after a while."""

    async def silence(scene: Scene) -> None:
        network = scene.stack.network[name]
        network.silence()
        try:
            await asyncio.sleep(scene.chance.uniform(1, 3))
        finally:
            network.heal()

    return silence


async def step_down(scene: Scene) -> None:
    """MongoDB's primary becomes a secondary for two seconds, with nobody to take its place."""
    database = mongo_database(scene.stack.views, "torture")
    try:
        order = {"replSetStepDown": 2, "secondaryCatchUpPeriodSecs": 0, "force": True}
        await database.client.admin.command(order)
    except PyMongoError:
        pass  # it hangs up on whoever asks
    finally:
        database.client.close()


async def second_projector(scene: Scene) -> None:
    """Another projector joins, and one of the two is killed while both live."""
    stack = scene.stack
    await stack.start("projector-2")
    try:
        await asyncio.sleep(scene.chance.uniform(0.2, 1))
        victim = scene.chance.choice(["projector", "projector-2"])
        before = stack.process(victim)
        stack.signal(victim, signal.SIGKILL)
        await stack.restarted(victim, before)
        await asyncio.sleep(scene.chance.uniform(0.2, 1))
    finally:
        await stack.end("projector-2")


async def paused_owner(scene: Scene) -> None:
    """The projector is paused past its lease while another one waits for just that; then both work."""
    stack = scene.stack
    await stack.start("projector-2")
    try:
        await paused("projector")(scene)
        await asyncio.sleep(scene.chance.uniform(0.2, 1))
    finally:
        await stack.end("projector-2")


async def poisoned_event(scene: Scene) -> None:
    """A broken writer leaves an event that nobody can decode; its order waits, until an operator discards it."""
    order = await _an_order(scene)
    order_id = order.aggregate[1]
    event_id = await _broken_event(scene.stack.postgres_url, order_id, order.version + 1)
    scene.operator.ledger.discarded.add(event_id)
    await _order_goes_on_behind(scene, order_id)

    async def discarded(letter: Json) -> None:
        await scene.operator.ask(
            "projector", "POST", f"/dead-letters/{letter['id']}/discard", {"reason": "a broken writer"}
        )

    # The shipping service is to be told of it too; that reaction has attempts of its own, and takes longer over them.
    await _dead_letter(scene, order_id, "shipping_sync")
    await _settled(scene, order_id, discarded)
    await _is_whole_again(scene, order_id)


async def poisoned_document(scene: Scene) -> None:
    """A document is damaged; what comes for it waits, until an operator has repaired it, and tries again."""
    order = await _an_order(scene)
    order_id = order.aggregate[1]
    await _until(lambda: scene.operator.read(f"/orders/{order_id}", order), f"order {order_id}")
    # With the projector dead: what it holds in memory would repair the document at once.
    database = mongo_database(scene.stack.views, "torture")
    try:
        before = scene.stack.process("projector")
        collection = database[await _served(database, "order_detail")]
        sound = await collection.find_one({"_id": order_id})
        assert sound is not None
        scene.stack.signal("projector", signal.SIGSTOP)
        await collection.update_one({"_id": order_id}, {"$set": _DAMAGE})
        scene.stack.signal("projector", signal.SIGKILL)
        await scene.stack.restarted("projector", before)
        await _order_goes_on_behind(scene, order_id)
        await _dead_letter(scene, order_id)
        await collection.update_one({"_id": order_id}, {"$set": {name: sound[name] for name in _DAMAGE}})

        async def retried(letter: Json) -> None:
            await scene.operator.ask("projector", "POST", f"/dead-letters/{letter['id']}/retry")

        await _settled(scene, order_id, retried)
    finally:
        database.client.close()
    await _is_whole_again(scene, order_id)


async def rebuild(scene: Scene) -> None:
    """A view is built afresh, and the projector is killed while it is at it."""
    name = scene.chance.choice(["order_detail", "sales_statistics", "product_catalog", "member_profile"])

    async def is_asked() -> bool:
        answer = await scene.operator.ask("projector", "POST", f"/projections/{name}/rebuild")
        # 409: the one before is still under way, or is still kept.
        return answer is not None and answer.status_code in (202, 409)

    await _until(is_asked, f"a rebuild of {name}")
    await asyncio.sleep(scene.chance.uniform(0, 0.6))
    await killed("projector")(scene)
    database = mongo_database(scene.stack.views, "torture")

    async def is_served() -> bool:
        with suppress(PyMongoError):
            found = await database["registry"].find_one({"_id": name})
            return found is not None and found.get("building") is None
        return False

    try:
        await _until(is_served, f"the rebuilt {name} to be served")
    finally:
        database.client.close()


async def full_disk(scene: Scene) -> None:
    """MongoDB's disk is full while it must write: it ends itself, and cannot start again until there is room."""
    if scene.disk is None:
        raise Impossible("a disk of limited size can be made by root alone")
    before = scene.stack.process("mongod")
    database = mongo_database(scene.stack.views, "torture")
    ballast = database.client[_BALLAST][_BALLAST]

    def chunks(count: int) -> list[dict[str, bytes]]:
        return [{"chunk": scene.chance.randbytes(1_000_000)} for _ in range(count)]

    try:
        with suppress(PyMongoError), pymongo.timeout(20):
            await ballast.insert_many(chunks(1))
            scene.disk.fill()
            await ballast.insert_many(chunks(40))
            await database.client.admin.command("fsync")
        await asyncio.sleep(scene.chance.uniform(1, 4))
        if before.process() is not None:
            scene.operator.ledger.answers["mongod: lived on with a full disk"] += 1
    finally:
        scene.disk.free()
        with suppress(PyMongoError):
            await database.client.drop_database(_BALLAST)
        database.client.close()


FAULTS: Mapping[str, Fault] = {
    "kill projector": killed("projector"),
    "kill command-api": killed("command-api"),
    "kill query-api": killed("query-api"),
    "kill payment-simulator": killed("payment-simulator"),
    "pause payment-simulator": paused("payment-simulator"),
    "kill mongod": killed("mongod"),
    "kill postgres": killed("postgres"),
    "pause projector": paused("projector"),
    "pause mongod": paused("mongod"),
    "pause postgres": paused("postgres"),
    "pause command-api": paused("command-api"),
    "pause the owner of two projectors": paused_owner,
    "second projector": second_projector,
    "step down": step_down,
    "cut postgres": cut_off("postgres"),
    "cut mongod": cut_off("mongod"),
    "silence postgres": silenced("postgres"),
    "silence mongod": silenced("mongod"),
    "poisoned event": poisoned_event,
    "poisoned document": poisoned_document,
    "rebuild": rebuild,
    "full disk": full_disk,
}
ALONE = frozenset({"poisoned event", "poisoned document", "full disk", "second projector"}) | {
    "pause the owner of two projectors"
}
"""Faults that look at what becomes of them, or start things: no other is done at the same time."""


async def _an_order(scene: Scene) -> Acknowledged:
    async def placed() -> Acknowledged | None:
        return await scene.operator.do(commands.place_order([(PRODUCTS[0], 1)], scene.operator.unique()))

    return await _until(placed, "an order")


async def _broken_event(url: str, order_id: str, version: int) -> str:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        async with connection.transaction():
            await connection.execute("UPDATE orders SET version = $2 WHERE order_id = $1", order_id, version)
            event_id = await connection.fetchval(
                "INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id,"
                " aggregate_version, occurred_at, payload) VALUES (gen_random_uuid(), 'ShippingInfoChanged', 1,"
                " 'order', $1, $2, now(), '{\"shipping_info\": \"nowhere\"}') RETURNING event_id",
                order_id,
                version,
            )
    finally:
        await connection.close()
    return str(event_id)


async def _order_goes_on_behind(scene: Scene, order_id: str) -> None:
    """Another command on it: acknowledged, waiting behind the letter, and never served as if it were there."""
    operator = scene.operator

    async def redirected() -> Acknowledged | None:
        return await operator.do(commands.redirect(order_id, operator.unique()))

    done = await _until(redirected, f"another command on {order_id}")
    # A letter satisfies no token: this notes as wrong whatever is answered as if it did.
    await _dead_letter(scene, order_id)
    if await operator.read(f"/orders/{order_id}", done, wait=0) is not None:
        operator.wrong(f"order {order_id}", "was served to a token while it is parked")


async def _dead_letter(scene: Scene, order_id: str, projection: str = "order_detail") -> Json:
    async def found() -> Json | None:
        answer = await scene.operator.ask(
            "projector", "GET", f"/dead-letters?aggregate_id={order_id}&projection={projection}&state=failed"
        )
        items = answer.json()["items"] if answer is not None and answer.is_success else []
        return items[0] if items else None

    return await _until(found, f"a dead letter of {order_id}")


async def _settled(scene: Scene, order_id: str, settle: Callable[[Json], Awaitable[None]]) -> None:
    """Settle the order's letters, in every instance of the view, until none is left."""

    async def settled() -> bool:
        answer = await scene.operator.ask("projector", "GET", f"/dead-letters?aggregate_id={order_id}")
        if answer is None or not answer.is_success:
            return False
        letters = answer.json()["items"]
        for letter in letters:
            if letter["state"] == "failed":
                await settle(letter)
        return not letters

    await _until(settled, f"the dead letters of {order_id} to be settled")


async def _is_whole_again(scene: Scene, order_id: str) -> None:
    done = [one for one in scene.operator.ledger.acknowledged if one.aggregate == ("order", order_id)][-1]

    async def served() -> bool:
        order = await scene.operator.read(f"/orders/{order_id}", done)
        return order is not None and bool(order["version"] >= done.version)

    await _until(served, f"order {order_id} to be served to a token")


async def _served(database: Database, view: str) -> str:
    found = await database["registry"].find_one({"_id": view})
    assert found is not None
    return str(found["active"])


async def _until(attempt: Callable[[], Awaitable[T | None]], what: str) -> T:
    """The first result that says something. Raises `NotRecovered`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := await attempt()):
        if time.monotonic() > deadline:
            raise NotRecovered(f"waited in vain for {what}")
        await asyncio.sleep(0.1)
    return found
