"""Too many sign-ups, sign-ins and wrong passwords: over the ASGI application and a real Postgres."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from command.app import create_app
from runtime.settings import Settings
from tests.integration.commanding import PASSWORD, problem

SIGN_UP = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}


class Town:
    """Clients at several addresses, of one application."""

    def __init__(self, app: object) -> None:
        self._app = app

    async def post(
        self, path: str, *, at: str = "192.0.2.1", headers: dict[str, str] | None = None, **sent: object
    ) -> httpx.Response:
        """POST from an address."""
        transport = httpx.ASGITransport(app=self._app, client=(at, 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://command") as client:
            return await client.post(path, headers=headers, **sent)  # type: ignore[arg-type]

    async def sign_in(
        self, password: str, *, at: str = "192.0.2.1", email: str = "ann@example.com", forwarded: str = ""
    ) -> httpx.Response:
        """POST /token."""
        headers = {"X-Forwarded-For": forwarded} if forwarded else None
        return await self.post("/token", at=at, headers=headers, data={"username": email, "password": password})


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    limits = {"sign_ups_per_minute": 3, "tokens_per_minute": 5, "password_failures_per_minute": 2}
    app = create_app(settings.model_copy(update=limits))
    async with app.router.lifespan_context(app):
        yield Town(app)


def assert_too_many(answer: httpx.Response) -> None:
    assert problem(answer) == (429, "too-many-requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_sign_ups_are_counted_by_address(town: Town) -> None:
    def ann(number: int) -> dict[str, str]:
        return SIGN_UP | {"email": f"ann{number}@example.com"}

    answers = [await town.post("/members", json=ann(number)) for number in range(4)]
    elsewhere = await town.post("/members", json=ann(9), at="192.0.2.2")

    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert_too_many(answers[-1])
    assert elsewhere.status_code == 201


async def test_sign_ins_are_counted_by_the_address_of_the_socket(town: Town) -> None:
    await town.post("/members", json=SIGN_UP)

    answers = [await town.sign_in(PASSWORD, forwarded=f"198.51.100.{number}") for number in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert_too_many(answers[-1])


@pytest.mark.parametrize("email", ["ann@example.com", "nobody@example.com"])
async def test_wrong_passwords_are_counted_by_account_wherever_from(town: Town, email: str) -> None:
    await town.post("/members", json=SIGN_UP)

    answers = [await town.sign_in("wrong", email=email, at=f"192.0.2.{number}") for number in range(2)]
    refused = await town.sign_in("wrong", email=f" {email.upper()}", at="192.0.2.9")

    assert [answer.status_code for answer in answers] == [400, 400]
    assert_too_many(refused)


async def test_guesses_at_the_same_time_are_no_way_around(town: Town) -> None:
    await town.post("/members", json=SIGN_UP)

    answers = await asyncio.gather(*(town.sign_in("wrong", at=f"192.0.2.{number}") for number in range(12)))

    assert Counter(answer.status_code for answer in answers) == {400: 2, 429: 10}


async def test_who_guesses_does_not_lock_the_owner_out(town: Town) -> None:
    await town.post("/members", json=SIGN_UP)
    await town.sign_in(PASSWORD, at="192.0.2.1")
    guesses = [await town.sign_in("guess", at="203.0.113.1") for _ in range(4)]

    owner = await town.sign_in(PASSWORD, at="192.0.2.1")

    assert [answer.status_code for answer in guesses] == [400, 400, 429, 429]
    assert owner.status_code == 200


async def test_the_password_in_use_cannot_be_guessed_with_a_stolen_token(town: Town, settings: Settings) -> None:
    from runtime.tokens import Tokens

    member = (await town.post("/members", json=SIGN_UP)).json()["member_id"]
    thief = {"Authorization": f"Bearer {Tokens(settings).issue(member, ['customer'])}"}
    change = {"current_password": "guess", "new_password": "mine, mine"}

    answers = [await town.post("/members/me/change-password", json=change, headers=thief) for _ in range(3)]

    assert [problem(answer)[0] for answer in answers] == [422, 422, 429]
