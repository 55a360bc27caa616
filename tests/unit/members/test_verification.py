"""Tokens, and the letter that takes them to a member."""

import re

import pytest

from command.members import verification
from command.members.verification import Issued

EVENT_ID = "01a1fd9a-0f1b-7755-bf54-6e41f8a8e764"


def text_for(name: str, public_url: str | None = None) -> str:
    """The text of Ann's mail, were she called so."""
    return verification.letter(Issued("the-token", name, "ann@example.com"), EVENT_ID, public_url).text


def test_no_two_tokens_are_the_same_and_none_is_guessed() -> None:
    tokens = {verification.new_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_a_hash_does_not_hold_its_token() -> None:
    assert "the-token" not in verification.hash_of("the-token")
    assert verification.hash_of("the-token") == verification.hash_of("the-token") != verification.hash_of("the-tokem")


@pytest.mark.parametrize(
    ("email", "is_nobodys"),
    [
        ("12345@online-retail.invalid", True),
        ("ann@INVALID", True),
        ("ann@shop.invalid.", True),
        ("ann@invalid.example.com", False),
        ("invalid@example.com", False),
        ("ann@notinvalid", False),
    ],
)
def test_only_addresses_under_invalid_are_nobodys(email: str, is_nobodys: bool) -> None:
    assert verification.is_nobodys(email) is is_nobodys


def test_the_letter_greets_by_name_and_is_named_by_its_event() -> None:
    letter = verification.letter(Issued("the-token", "김철수", "ann@example.com"), EVENT_ID, None)

    assert (letter.name, letter.to_name, letter.to_address) == (EVENT_ID, "김철수", "ann@example.com")
    assert letter.text.startswith("Hello 김철수,\n")


@pytest.mark.parametrize("name", ["Win at https://evil.example", "www.evil", "evil.example", "a@b", "x" * 61])
def test_no_stranger_advertises_by_the_name_that_they_sign_up_with(name: str) -> None:
    assert text_for(name).startswith("Hello,\n")


@pytest.mark.parametrize("name", ["Ann B. Archer", "Choi Min-ji", "Dr. O'Neill"])
def test_ordinary_names_are_greeted(name: str) -> None:
    assert text_for(name).startswith(f"Hello {name},\n")


def test_the_letter_tells_the_call_or_links_to_the_shops_own_page() -> None:
    assert '{"token": "the-token"}' in text_for("Ann")
    assert "https://shop.example/verify-email#token=the-token\n" in text_for("Ann", "https://shop.example/")
