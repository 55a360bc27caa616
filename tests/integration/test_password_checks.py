"""What a password check costs: the same for an e-mail address that nobody has, and never a database connection."""

from typing import Any

import pytest
from argon2 import PasswordHasher

from command.members import passwords
from tests.integration.commanding import Shop, problem, shop

__all__ = ["shop"]

ANN = {"email": "ann@example.com", "name": "Ann", "password": "correct horse"}


class Checks:
    """Every run of argon2: what it did, and how many connections were taken at that moment."""

    def __init__(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, int]] = []
        pool = shop.client._transport.app.state.write_side.transactions.engine.pool  # type: ignore[attr-defined]
        verify, hasher = passwords._verify, passwords._hasher

        def noted_verify(*given: Any) -> bool:
            self.seen.append(("verify", pool.checkedout()))
            return verify(*given)

        class NotedHasher:
            def hash(_, password: str) -> str:  # noqa: N805 - the outer self is meant
                self.seen.append(("hash", pool.checkedout()))
                return hasher.hash(password)

            def verify(_, password_hash: str, password: str) -> bool:  # noqa: N805
                return hasher.verify(password_hash, password)

        monkeypatch.setattr(passwords, "_verify", noted_verify)
        monkeypatch.setattr(passwords, "_hasher", NotedHasher())


@pytest.fixture
async def checks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Checks:
    """After Ann has signed up."""
    assert (await shop.post("/members", ANN, by={})).status_code == 201
    return Checks(shop, monkeypatch)


@pytest.mark.parametrize("username", ["ann@example.com", "nobody@example.com", "\x00", "not an address"])
async def test_signing_in_verifies_once_whether_or_not_there_is_such_a_member(
    shop: Shop, checks: Checks, username: str
) -> None:
    answer = await shop.client.post("/token", data={"username": username, "password": "wrong"})

    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})
    assert checks.seen == [("verify", 0)]


async def test_signing_up_holds_no_connection_while_argon2_works(shop: Shop, checks: Checks) -> None:
    await shop.post("/members", ANN | {"email": "bob@example.com"}, by={})
    await shop.client.post("/members", json=ANN | {"email": "eve@example.com"}, headers={"Idempotency-Key": "k"})

    assert checks.seen == [("hash", 0), ("hash", 0)]


class TestChangePassword:
    """`POST /members/me/change-password`."""

    async def _ann(self, shop: Shop) -> dict[str, str]:
        (row,) = await shop.rows("SELECT member_id FROM members")
        return shop.as_(row["member_id"], "customer")

    @pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}])
    async def test_holds_no_connection_while_argon2_works(
        self, shop: Shop, checks: Checks, key: dict[str, str]
    ) -> None:
        body = {"current_password": "correct horse", "new_password": "battery staple"}
        answer = await shop.post("/members/me/change-password", body, by=await self._ann(shop) | key)

        assert answer.status_code == 200, answer.text
        assert checks.seen == [("verify", 0), ("hash", 0)]

    async def test_of_two_at_once_with_the_same_password_one_wins(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await shop.post("/members", ANN, by={})
        body = {"current_password": "correct horse", "new_password": "battery staple"}
        ann, verify, overtaken = await self._ann(shop), passwords._verify, []
        hash_of_another = PasswordHasher().hash("of another process")

        async def overtaking(password: str) -> str:
            # While this one hashes, another process changes the password, which its throttle knows nothing of.
            await shop.rows("UPDATE members SET password_hash = $1, version = version + 1", hash_of_another)
            overtaken.append(password)
            return hash_of_another

        monkeypatch.setattr("command.members.service.hash_password", overtaking)
        answer = await shop.post("/members/me/change-password", body, by=ann)

        assert problem(answer) == (422, "wrong-password")
        assert overtaken == ["battery staple"]
        (row,) = await shop.rows("SELECT password_hash, version FROM members")
        assert (row["version"], verify(row["password_hash"], "of another process")) == (2, True)
