"""One run: a stack, a load, faults one after the other with a recovery after each, and the judgement in the end."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.integration.projecting import ReadSide, a_read_side
from tests.oracle.views import differences, expected_views
from tests.torture import commands
from tests.torture.client import PATIENCE_SECONDS, Client, a_client, range_of_days
from tests.torture.commands import PRODUCTS
from tests.torture.disk import a_disk
from tests.torture.faults import ALONE, FAULTS, Impossible, NotRecovered, Scene
from tests.torture.ledger import Json, Ledger
from tests.torture.load import open_shop, trading
from tests.torture.money import judged_money
from tests.torture.oracle import expected_totals, facts_of, judged_log
from tests.torture.report import Report
from tests.torture.stack import Stack

Schedule = Iterable[tuple[str, ...]]
SHORT: Schedule = (
    ("kill projector",),
    ("kill payment-simulator",),
    ("kill command-api",),
    ("step down",),
    ("kill query-api",),
    ("cut postgres", "cut mongod"),
    ("poisoned event",),
    ("pause the owner of two projectors",),
    ("kill postgres",),
    ("poisoned document",),
    ("kill mongod",),
)
"""Each kind once, where it is cheap: silent networks, a full disk and rebuilds take their time."""
_TOGETHER = 0.25
"""How often two faults are done at the same time."""


def at_random(seed: int, seconds: float, only: Sequence[str] = ()) -> Iterator[tuple[str, ...]]:
    """Every fault in turn, in an order that the seed decides, again and again until the time is over."""
    chance, until = random.Random(seed), time.monotonic() + seconds
    while True:
        names = list(only or FAULTS)
        chance.shuffle(names)
        for name in names:
            if time.monotonic() >= until:
                return
            others = sorted(FAULTS.keys() - ALONE - {name})
            both = not only and name not in ALONE and chance.random() < _TOGETHER
            yield (name, chance.choice(others)) if both else (name,)


async def torture(
    folder: Path,
    schedule: Schedule,
    *,
    seed: int,
    traders: int,
    small_disk: bool,
    say: Callable[[str], None],
) -> tuple[Report, Ledger]:
    """Do it all. What was wrong stands in the report."""
    report, ledger = Report(seed, say), Ledger()
    with a_disk(folder / "mongo", wanted=small_disk) as disk:
        async with (
            Stack(folder).running() as stack,
            a_client(stack, ledger, "operator", "customer", "staff", "operator", seed=f"{seed}") as operator,
        ):
            await open_shop(stack, ledger)
            scene = Scene(stack, operator, random.Random(f"{seed} faults"), disk)
            try:
                async with trading(stack, ledger, seed, traders=traders):
                    for names in schedule:
                        await _one_round(scene, names, report)
                report.line("the load is over; judging")
                await _judge(scene, report)
            except NotRecovered as error:
                report.wrong.append(str(error))
    report.wrong = ledger.wrong + report.wrong
    return report, ledger


async def _one_round(scene: Scene, names: tuple[str, ...], report: Report) -> None:
    begun = time.monotonic()
    # Something must be under way for a fault to hit.
    await asyncio.sleep(scene.chance.uniform(0.1, 0.6))
    results = await asyncio.gather(*(FAULTS[name](scene) for name in names), return_exceptions=True)
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Impossible):
            report.skip(name, str(result))
        elif isinstance(result, BaseException):
            raise result
    done = tuple(name for name, result in zip(names, results, strict=True) if result is None)
    over = time.monotonic()
    if done:
        await _recovered(scene, names)
        report.fault(done, over - begun, time.monotonic() - over)


async def _recovered(scene: Scene, names: Sequence[str]) -> None:
    """A command is accepted, and every view shows it."""
    operator, deadline = scene.operator, time.monotonic() + PATIENCE_SECONDS
    done = None
    while time.monotonic() < deadline:
        if done is None:
            done = await operator.do(commands.adjust_stock(PRODUCTS[0], 1, operator.unique()))
        # This call waits for all views at once.
        elif await operator.read("/projections", done, wait=10) is not None:
            return
        await asyncio.sleep(0.05)
    raise NotRecovered(f"not recovered from {' + '.join(names)} within {PATIENCE_SECONDS:.0f} s")


async def _judge(scene: Scene, report: Report) -> None:
    stack, operator, ledger = scene.stack, scene.operator, scene.operator.ledger
    # Ended politely it finishes what it was asked: nothing that a client gave up on can happen behind our back.
    before = stack.process("command-api")
    stack.interrupt("command-api")
    await stack.restarted("command-api", before)
    await stack.ready("command-api")
    await _recovered(scene, ["the end"])
    await _at_rest(operator)
    log = await _whole_log(operator)
    report.events = len(log)
    report.wrong += judged_log(ledger, log)
    report.wrong += judged_money(log)
    expected = expected_views(facts_of(ledger, log))
    async with a_read_side(stack.views) as read_side:
        await read_side.reached(len(log))
        report.wrong += differences(await read_side.views(), expected)
        report.wrong += await _parked(read_side)
    report.wrong += await _over_http(operator, expected)


async def _at_rest(operator: Client) -> None:
    """Every reaction has answered every event, and what they recorded too. What was given up as a dead letter, because
    the gateway was away for longer than the attempts last, an operator has tried again."""
    deadline, before = time.monotonic() + PATIENCE_SECONDS, -1
    while time.monotonic() < deadline:
        answer = await operator.ask("projector", "GET", "/reactions")
        reactions = answer.json()["items"] if answer is not None and answer.is_success else []
        if any(one["parked_sequences"] for one in reactions):
            await operator.ask("projector", "POST", "/dead-letters/retry", {"all": True})
        if reactions and all(_is_done(one) for one in reactions):
            head = max(one["head"] for one in reactions)
            if head == before:
                return
            before = head
        await asyncio.sleep(0.5)
    raise NotRecovered(f"reactions have not come to rest within {PATIENCE_SECONDS:.0f} s: {reactions}")


def _is_done(reaction: Json) -> bool:
    return reaction["state"] == "active" and not (
        reaction["lag_events"] or reaction["in_flight"] or reaction["parked_sequences"]
    )


async def _whole_log(operator: Client) -> list[Json]:
    log: list[Json] = []
    while True:
        answer = await operator.ask("command-api", "GET", f"/events?after={len(log)}&limit=1000")
        if answer is None or not answer.is_success:
            await asyncio.sleep(0.2)
            continue
        if not answer.json():
            return log
        log += answer.json()


async def _parked(read_side: ReadSide) -> list[str]:
    """Whatever still waits in a view that is served."""
    served = set((await read_side.active()).values())
    letters = [one for one in await read_side.dead_letters() if one["instance"] in served]
    wrong = [f"dead letter: {one}" for one in letters if one["state"] != "discarded"]
    return wrong + [
        f"{name} says that {one['parked_sequences']} are parked"
        for name, one in (await read_side.checkpoints()).items()
        if name in served and one["parked_sequences"]
    ]


async def _over_http(operator: Client, expected: dict[str, dict[str, Json]]) -> list[str]:
    """The same once more as anybody would see it."""
    wrong = []
    totals = expected_totals(expected)
    for group in ("none", "product", "category"):
        found = await _got(operator, f"/statistics/sales?{range_of_days()}&granularity=month&group_by={group}")
        if found["totals"] != totals:
            wrong.append(f"statistics by {group}: {found['totals']}, expected {totals}")
    listed: dict[str, int] = {}
    cursor = ""
    while True:
        page = await _got(operator, f"/orders?limit=100{cursor}")
        listed |= {item["order_id"]: item["version"] for item in page["items"]}
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    if listed != {key: order["version"] for key, order in expected["order_detail"].items()}:
        wrong.append("the lists of orders do not hold every order at its version")
    return wrong


async def _got(operator: Client, path: str) -> Json:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        answer = await operator.ask("query-api", "GET", path)
        if answer is not None and answer.is_success:
            found: Json = answer.json()
            return found
        await asyncio.sleep(0.2)
    raise NotRecovered(f"GET {path} was not answered")
