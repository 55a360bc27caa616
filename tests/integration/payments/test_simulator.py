"""The simulated gateway as a service: every card, its idempotency, and a ledger that survives its process."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from command.payments.gateway import Charge
from command.payments.ledger import Ledger
from command.payments.simulator import create_app
from readside.ports import hold, port_of
from readside.readiness import wait_until_ready
from runtime.settings import Settings
from tests.integration.serving import served


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(_env_file=None, data_dir=tmp_path)  # type: ignore[call-arg]
    async with (
        served(create_app(settings)) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=10) as client,
    ):
        yield client


async def charge(
    client: httpx.AsyncClient, payment_id: str = "pay-1", token: str | None = None, *, key: str = "", amount: int = 150
) -> httpx.Response:
    body = {"payment_id": payment_id, "amount": amount, "currency": "EUR", "card_token": token}
    return await client.post("/charges", json=body, headers={"Idempotency-Key": key or f"key of {payment_id}"})


async def booked(client: httpx.AsyncClient, payment_id: str) -> list[str]:
    answer = await client.get("/charges", params={"payment_id": payment_id})
    return [item["status"] for item in answer.json()["items"]]


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"]


async def test_asked_again_it_answers_the_same_and_books_nothing_more(client: httpx.AsyncClient) -> None:
    answers = [await charge(client, token="tok_twice", key=key) for key in ("a", "a", "b")]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.text for answer in answers}) == 1
    assert await booked(client, "pay-1") == ["captured"]


async def test_twenty_at_once_book_one(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(charge(client, key=f"key {number}") for number in range(20)))

    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert await booked(client, "pay-1") == ["captured"]


async def test_a_key_belongs_to_one_payment_and_a_payment_to_one_amount(client: httpx.AsyncClient) -> None:
    await charge(client, key="a")

    assert problem(await charge(client, "pay-2", key="a")) == (422, "/problems/idempotency-key-reused")
    assert problem(await charge(client, key="b", amount=151)) == (422, "/problems/idempotency-key-reused")


async def test_a_declined_card_is_declined_whenever_it_is_asked(client: httpx.AsyncClient) -> None:
    answers = [await charge(client, token="tok_declined_for_ever") for _ in range(2)]

    assert [(one.status_code, one.json()["code"]) for one in answers] == [(402, "card-declined")] * 2
    assert await booked(client, "pay-1") == []


async def test_a_card_that_fails_a_few_times_fails_so_often_for_each_payment(client: httpx.AsyncClient) -> None:
    for payment_id in ("pay-1", "pay-2"):
        statuses = [(await charge(client, payment_id, "tok_fail_2")).status_code for _ in range(3)]
        assert statuses == [503, 503, 200]


async def test_a_lost_answer_comes_when_it_is_asked_for_again(client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await charge(client, token="tok_lost")
    assert await booked(client, "pay-1") == ["captured"]

    assert (await charge(client, token="tok_lost")).status_code == 200
    assert await booked(client, "pay-1") == ["captured"]


async def test_a_slow_card_pays_late(client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.post(
            "/charges",
            json={"payment_id": "pay-1", "amount": 1, "currency": "EUR", "card_token": "tok_slow_1"},
            headers={"Idempotency-Key": "a"},
            timeout=0.2,
        )
    assert await booked(client, "pay-1") == []
    # Behind the first: when this one is answered, so is that.
    assert (await charge(client, token="tok_slow_1", key="a", amount=1)).status_code == 200
    assert await booked(client, "pay-1") == ["captured"]


async def test_a_refund_is_of_a_whole_charge_and_made_once(client: httpx.AsyncClient) -> None:
    charge_id = (await charge(client)).json()["charge_id"]
    whole = {"payment_id": "pay-1", "charge_id": charge_id, "amount": 150}

    for wrong in ({"amount": 149}, {"charge_id": "another"}, {"payment_id": "pay-2"}):
        assert problem(await client.post("/refunds", json=whole | wrong)) == (404, "/problems/not-found")
    answers = [await client.post("/refunds", json=whole) for _ in range(2)]

    assert [answer.json() for answer in answers] == [{"charge_id": charge_id, "status": "refunded"}] * 2
    assert await booked(client, "pay-1") == ["refunded"]


async def test_a_void_undoes_what_there_is_and_refuses_what_comes(client: httpx.AsyncClient) -> None:
    await charge(client)

    amounts = [
        (await client.post("/voids", json={"payment_id": payment_id})).json()["refunded_amount"]
        for payment_id in ("pay-1", "pay-1", "pay-2")
    ]

    assert amounts == [150, 150, 0]
    assert await booked(client, "pay-1") == ["refunded"]
    for payment_id in ("pay-1", "pay-2"):
        assert problem(await charge(client, payment_id)) == (409, "/problems/payment-voided")
    assert await booked(client, "pay-2") == []


async def test_a_refund_after_a_void_is_done_already(client: httpx.AsyncClient) -> None:
    charge_id = (await charge(client)).json()["charge_id"]
    await client.post("/voids", json={"payment_id": "pay-1"})

    answer = await client.post("/refunds", json={"payment_id": "pay-1", "charge_id": charge_id, "amount": 150})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"payment_id": "p", "amount": 0, "currency": "EUR"}, {"payment_id": "p", "amount": 1, "currency": "x"}]
)
async def test_what_makes_no_sense_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await client.post("/charges", json=body, headers={"Idempotency-Key": "a"})
    assert problem(answer) == (422, "/problems/invalid-input")


async def test_a_charge_without_a_key_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/charges", json={"payment_id": "p", "amount": 1, "currency": "EUR"})
    assert problem(answer) == (422, "/problems/invalid-input")


async def test_it_has_health_and_a_document(client: httpx.AsyncClient) -> None:
    answers = [await client.get(path) for path in ("/livez", "/readyz", "/openapi.json")]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert {"/charges", "/refunds", "/voids"} <= answers[-1].json()["paths"].keys()


@contextmanager
def a_process(data_dir: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """``readside payment-simulator``, as `readside up` starts it."""
    with hold("127.0.0.1", 0, "--port") as listening:
        listening.listen()
        port, descriptor = port_of(listening), listening.fileno()
        argv = [sys.executable, "-m", "readside", "payment-simulator", "--port", str(port)]
        process = subprocess.Popen(
            [*argv, "--listening-socket", str(descriptor)],
            pass_fds=(descriptor,),
            env=os.environ | {"READSIDE_DATA_DIR": str(data_dir), "READSIDE_LOG_FORMAT": "plain"},
            cwd=data_dir,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process, port
        finally:
            process.kill()
            process.wait()


async def test_whoever_comes_before_it_runs_is_not_refused_but_served(tmp_path: Path) -> None:
    with a_process(tmp_path) as (_, port):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            assert (await charge(client)).status_code == 200


async def test_what_it_has_booked_survives_its_own_kill_and_is_seen_by_every_process(tmp_path: Path) -> None:
    async def book(port: int, count: int) -> list[str]:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            answers = await asyncio.gather(*(charge(client, f"pay-{number}") for number in range(count)))
            return [answer.json()["charge_id"] for answer in answers]

    with a_process(tmp_path) as (process, port):
        await wait_until_ready("127.0.0.1", port, lambda _: None)
        before = await book(port, 30)
        process.send_signal(signal.SIGKILL)
        process.wait()

    with a_process(tmp_path) as (_, one), a_process(tmp_path) as (_, other):
        assert await book(one, 30) == before
        assert (await book(other, 31))[:30] == before
        assert await book(one, 31) == await book(other, 31)


async def test_two_processes_make_one_ledger(tmp_path: Path) -> None:
    ledgers = [Ledger(tmp_path) for _ in range(4)]

    async def book(ledger: Ledger, number: int) -> str:
        asked = Charge(f"pay-{number}", 1, "EUR", None)
        return (await asyncio.to_thread(ledger.charge, asked, f"key-{number}")).charge_id

    booked = await asyncio.gather(*(book(ledger, number) for number in range(25) for ledger in ledgers))

    assert len(set(booked)) == 25
    assert len(ledgers[0].charges(limit=1000)) == 25
    for ledger in ledgers:
        ledger.close()
