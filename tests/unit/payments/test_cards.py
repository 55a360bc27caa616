"""What is written in the tokens of simulated cards."""

import math

import pytest

from command.payments.simulated import Card, card_of


@pytest.mark.parametrize(
    ("token", "card"),
    [
        ("tok_declined", Card(is_declined=True)),
        ("tok_declined_no_funds", Card(is_declined=True)),
        ("tok_slow", Card(delay_seconds=3.0)),
        ("tok_slow_7", Card(delay_seconds=7.0)),
        ("tok_fail", Card(failures=math.inf)),
        ("tok_fail_2", Card(failures=2)),
        ("tok_lost", Card(loses_first_answer=True)),
        ("tok_refund_fail", Card(refund_failures=math.inf)),
        ("tok_refund_fail_4", Card(refund_failures=4)),
    ],
)
def test_a_token_says_how_its_card_is_treated(token: str, card: Card) -> None:
    assert card_of(token) == card


@pytest.mark.parametrize("token", [None, "", "tok_visa", "tok_twice", "tok_fail_often", "tok_slow_", "x", "TOK_FAIL"])
def test_every_other_card_is_approved_at_once(token: str | None) -> None:
    assert card_of(token) == Card()


@pytest.mark.parametrize("token", ["tok_fail_0", "tok_slow_0", "tok_refund_fail_0"])
def test_none_is_none_at_all(token: str) -> None:
    assert card_of(token) == Card()
