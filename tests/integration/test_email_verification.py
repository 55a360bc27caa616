"""From sign-up to a confirmed address: the reaction, the calls, and what a stranger cannot do with either."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from command.mail import Letter, Mailer, Undeliverable
from command.members.jobs import forget_expired_tokens
from command.members.reactions import verification_mail
from command.members.verification import MOST_MAILS, hash_of
from events.envelope import Envelope
from events.members import EmailVerificationRequested, MemberRegistered
from events.reaction import Ports
from runtime.settings import Settings
from tests.integration.answering import answer, ports_with_steps, told
from tests.integration.commanding import PASSWORD, Shop, problem, shop

__all__ = ["shop"]

ANN = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}
REGISTERED = MemberRegistered(email="ann@example.com", name="Ann")


class Postbox(Mailer):
    """Keeps every letter, or does what a test tells it to."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.fails: Exception | None = None

    async def send(self, letter: Letter) -> None:
        """Also where it fails: a server that hangs up may have taken the letter before."""
        self.letters.append(letter)
        if self.fails is not None:
            raise self.fails

    @property
    def tokens(self) -> list[str]:
        """Those in the letters, in order."""
        return [re.findall(r'"token": "([\w-]+)"', letter.text)[0] for letter in self.letters]


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
async def ports(settings: Settings, postbox: Postbox) -> AsyncIterator[Ports]:
    async with ports_with_steps(settings, {Mailer: postbox}) as ports:
        yield ports


@pytest.fixture
async def ann(shop: Shop) -> str:
    """The id of a member who has just signed up."""
    answered = await shop.client.post("/members", json=ANN)
    assert answered.status_code == 201, answered.text
    member_id: str = answered.json()["member_id"]
    return member_id


@pytest.fixture
async def token(ann: str, ports: Ports, postbox: Postbox) -> str:
    """Of Ann's first mail."""
    await answer(verification_mail, told(REGISTERED, ann), ports)
    return postbox.tokens[0]


async def verify(shop: Shop, token: str, **headers: str) -> Any:
    """By nobody in particular: a token is all that it takes."""
    return await shop.client.post("/members/verify-email", json={"token": token}, headers=headers)


async def resend(shop: Shop, member_id: str) -> Any:
    """By the member."""
    return await shop.client.post("/members/me/resend-verification", headers=shop.as_(member_id, "customer"))


async def test_the_token_of_the_mail_confirms_the_address(shop: Shop, ann: str, token: str) -> None:
    answered = await verify(shop, token)

    assert (answered.status_code, answered.json()) == (200, {"member_id": ann, "version": 2})
    assert answered.headers["etag"] == '"2"'
    assert await shop.events_of(ann) == [(1, "MemberRegistered"), (2, "MemberEmailVerified")]


async def test_only_the_hash_of_a_token_is_kept(shop: Shop, ann: str, token: str) -> None:
    await verify(shop, token, **{"Idempotency-Key": "k"})

    assert [row["token_hash"] for row in await shop.rows("SELECT token_hash FROM email_verifications")] == [
        hash_of(token)
    ]
    tables = [row["relname"] for row in await shop.rows("SELECT relname FROM pg_stat_user_tables")]
    assert {"outbox", "idempotency_keys", "email_verifications"} <= set(tables)
    for table in tables:
        (held,) = await shop.rows(f"SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%' || $1 || '%'", token)  # noqa: S608 - names of tables
        assert held["count"] == 0, table


async def test_what_may_not_have_gone_out_is_sent_again_and_both_tokens_are_good_until_one_is_used(
    shop: Shop, ann: str, ports: Ports, postbox: Postbox
) -> None:
    envelope = told(REGISTERED, ann)
    postbox.fails = ConnectionResetError()
    with pytest.raises(ConnectionResetError):
        await answer(verification_mail, envelope, ports)
    postbox.fails = None
    await answer(verification_mail, envelope, ports)

    first, second = postbox.tokens
    assert first != second
    assert [letter.name for letter in postbox.letters] == [envelope.event_id] * 2
    assert (await verify(shop, first)).status_code == 200
    assert problem(await verify(shop, second)) == (422, "unknown-verification-token")


async def test_of_several_who_use_tokens_of_one_member_at_once_one_succeeds(
    shop: Shop, ann: str, ports: Ports, postbox: Postbox
) -> None:
    for _ in range(2):
        await answer(verification_mail, told(REGISTERED, ann), ports)

    answers = await asyncio.gather(*(verify(shop, token) for token in postbox.tokens * 3))

    assert Counter(one.status_code for one in answers) == {200: 1, 422: 5}
    assert len(await shop.events_of(ann)) == 2


async def test_a_token_that_is_unknown_used_or_expired_is_refused_alike(shop: Shop, ann: str, token: str) -> None:
    unknown = await verify(shop, "x" * 43)
    await shop.rows("UPDATE email_verifications SET expires_at = now()")
    expired = await verify(shop, token)
    await shop.rows("UPDATE email_verifications SET expires_at = now() + interval '1 hour'")
    assert (await verify(shop, token)).status_code == 200
    used = await verify(shop, token)

    assert {problem(one) for one in (unknown, expired, used)} == {(422, "unknown-verification-token")}
    assert len({one.json()["detail"] for one in (unknown, expired, used)}) == 1


async def test_once_a_token_is_used_its_members_others_are_too_whatever_becomes_of_the_member(
    shop: Shop, ann: str, token: str, ports: Ports, postbox: Postbox
) -> None:
    await answer(verification_mail, told(REGISTERED, ann), ports)
    await verify(shop, token)
    await shop.rows("UPDATE members SET email_verified = false")

    assert {problem(await verify(shop, one)) for one in postbox.tokens} == {(422, "unknown-verification-token")}


async def test_the_same_call_sent_again_under_its_key_is_answered_alike(shop: Shop, ann: str, token: str) -> None:
    first, again = [await verify(shop, token, **{"Idempotency-Key": "k"}) for _ in range(2)]

    assert (again.status_code, again.json()) == (first.status_code, first.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_token_proves_no_address_but_the_one_that_it_was_sent_to(shop: Shop, ann: str, token: str) -> None:
    await shop.rows("UPDATE members SET email = 'other@example.com'")

    assert problem(await verify(shop, token)) == (422, "unknown-verification-token")


async def test_a_stale_version_confirms_nothing(shop: Shop, ann: str, token: str) -> None:
    assert problem(await verify(shop, token, **{"If-Match": '"7"'})) == (412, "stale-version")
    assert (await verify(shop, token, **{"If-Match": '"1"'})).status_code == 200


async def test_addresses_that_are_made_up_get_no_mail_and_cost_no_step(postbox: Postbox) -> None:
    nobody = MemberRegistered(email="12345@online-retail.invalid", name="Customer 12345")

    await answer(verification_mail, told(nobody, "12345"), Ports({Mailer: postbox}))

    assert postbox.letters == []


async def test_whose_address_is_confirmed_gets_no_mail(
    shop: Shop, ann: str, token: str, ports: Ports, postbox: Postbox
) -> None:
    await verify(shop, token)
    await answer(verification_mail, told(REGISTERED, ann), ports)

    assert len(postbox.letters) == 1
    assert problem(await resend(shop, ann)) == (409, "email-already-verified")


async def test_an_address_that_does_not_exist_makes_no_dead_letter(ann: str, ports: Ports, postbox: Postbox) -> None:
    postbox.fails = Undeliverable()

    await answer(verification_mail, told(REGISTERED, ann), ports)

    assert len(postbox.letters) == 1


async def test_a_mail_that_was_asked_for_is_sent_and_the_first_token_stays_good(
    shop: Shop, ann: str, token: str, ports: Ports, postbox: Postbox
) -> None:
    asked = await resend(shop, ann)
    await answer(verification_mail, told(EmailVerificationRequested(email="ann@example.com"), ann, version=2), ports)

    assert (asked.status_code, asked.json()) == (202, {"member_id": ann, "version": 2})
    assert await shop.events_of(ann) == [(1, "MemberRegistered"), (2, "EmailVerificationRequested")]
    assert len(set(postbox.tokens)) == 2
    assert (await verify(shop, token)).status_code == 200


async def test_nobody_floods_a_strangers_address(shop: Shop, ann: str, ports: Ports, postbox: Postbox) -> None:
    asked = EmailVerificationRequested(email="ann@example.com")
    waiting = [told(asked, ann, version=2 + number) for number in range(MOST_MAILS + 3)]
    for envelope in waiting:
        await answer(verification_mail, envelope, ports)

    assert len(postbox.letters) == MOST_MAILS
    assert problem(await resend(shop, ann)) == (409, "too-many-verification-mails")
    assert len(await shop.events_of(ann)) == 1


async def test_a_mail_that_takes_many_attempts_counts_as_one(ann: str, ports: Ports, postbox: Postbox) -> None:
    envelope: Envelope = told(REGISTERED, ann)
    for _ in range(MOST_MAILS + 2):
        await answer(verification_mail, envelope, ports)
    await answer(verification_mail, told(EmailVerificationRequested(email="ann@example.com"), ann, version=2), ports)

    assert len(postbox.letters) == MOST_MAILS + 3


async def test_who_asks_again_and_again_is_told_to_wait(shop: Shop, ann: str) -> None:
    answers = [await resend(shop, ann) for _ in range(4)]

    assert [one.status_code for one in answers] == [202, 202, 202, 429]
    assert problem(answers[-1]) == (429, "too-many-requests")


async def test_a_caller_who_is_no_member_asks_in_vain(shop: Shop) -> None:
    assert problem(await resend(shop, "of-another-provider")) == (404, "not-found")


async def test_a_member_changes_their_name_and_orders_by_it(shop: Shop, ann: str) -> None:
    await shop.product()
    by_ann = shop.as_(ann, "customer")
    before = await shop.order(by=by_ann)
    renamed = await shop.client.patch("/members/me", json={"name": " 김철수 "}, headers=by_ann)
    after = await shop.order(by=by_ann)

    names = {row["order_id"]: row["orderer_name"] for row in await shop.rows("SELECT * FROM orders")}
    assert (renamed.status_code, renamed.json()) == (200, {"member_id": ann, "version": 2})
    assert names == {before.json()["order_id"]: "Ann", after.json()["order_id"]: "김철수"}
    assert await shop.events_of(ann) == [(1, "MemberRegistered"), (2, "MemberRenamed")]


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "a\nb"}, {"name": None}, {"name": "x", "email": "y@z"}])
async def test_a_name_is_a_line_of_text_and_nothing_else_changes(shop: Shop, ann: str, body: dict[str, Any]) -> None:
    answered = await shop.client.patch("/members/me", json=body, headers=shop.as_(ann, "customer"))

    assert problem(answered) == (422, "invalid-input")


async def test_tokens_that_have_expired_are_forgotten(shop: Shop, ann: str, token: str, ports: Ports) -> None:
    await forget_expired_tokens(ports)
    (kept,) = await shop.rows("SELECT count(*) FROM email_verifications")
    await shop.rows("UPDATE email_verifications SET expires_at = now()")
    await forget_expired_tokens(ports)

    assert (kept["count"], await shop.rows("SELECT 1 FROM email_verifications")) == (1, [])
