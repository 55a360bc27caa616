"""A token that was verified is not verified again for a while, and never outlives itself."""

import time
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from runtime import tokens as module
from runtime.settings import Settings
from runtime.tokens import Tokens

SECRET = "a secret for tests alone, 32 bytes or more"


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    real = jwt.decode

    def counting(token: str, *args: Any, **kwargs: Any) -> Any:
        seen.append(token)
        return real(token, *args, **kwargs)

    monkeypatch.setattr(jwt, "decode", counting)
    return seen


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [time.time()]
    monkeypatch.setattr(module, "time", lambda: now[0])
    return now


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(Settings(jwt_secret=SecretStr(SECRET), jwt_lifetime_seconds=60))


async def test_a_token_is_verified_once_within_a_minute(
    tokens: Tokens, verifications: list[str], clock: list[float]
) -> None:
    token = tokens.issue("ann", ["customer"])
    callers = [await tokens.verify(token) for _ in range(3)]
    assert [caller.subject for caller in callers] == ["ann"] * 3
    assert verifications == [token]
    clock[0] += 61
    await tokens.verify(token)
    assert verifications == [token, token]


async def test_a_remembered_token_ends_when_it_expires(
    tokens: Tokens, verifications: list[str], clock: list[float]
) -> None:
    claims = {"sub": "ann", "iss": "readside", "aud": "readside", "exp": clock[0] - 4}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    await tokens.verify(token)  # within the five seconds that clocks may differ
    clock[0] += 2
    await tokens.verify(token)  # the library looks at the real clock: that it is asked again is the rule here
    assert verifications == [token, token]


async def test_a_token_that_differs_from_a_remembered_one_is_verified(tokens: Tokens) -> None:
    token = tokens.issue("ann", ["customer"])
    await tokens.verify(token)
    with pytest.raises(jwt.InvalidTokenError):
        await tokens.verify(token[:-2] + ("AA" if token[-2:] != "AA" else "BB"))


async def test_only_so_many_are_remembered(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 2)
    for name in ("a", "b", "c"):
        await tokens.verify(tokens.issue(name, ["customer"]))
    assert {caller.subject for caller, _ in tokens._remembered.values()} == {"b", "c"}
