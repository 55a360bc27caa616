"""What is offered to whom, what is escaped, what is said, and where nobody is sent."""

from collections import deque
from typing import Any

import jwt
import pytest

from console.desk import rates
from console.markup import field, link, tag
from console.messages import _CATALOG, language_of, say
from console.pages.projections import quantiles
from console.preferences import inside
from console.scopes import order_actions, pages
from console.sessions import Session, Sessions
from tests.conftest import JWT_SECRET


def session_of(*scopes: str) -> Session:
    claims = {"sub": "ann", "scope": " ".join(scopes), "exp": 4_000_000_000}
    return Sessions().begin(jwt.encode(claims, JWT_SECRET))


@pytest.mark.parametrize(
    ("scopes", "shown"),
    [
        (("customer",), ["orders"]),
        (("staff",), ["sales", "orders", "projections"]),
        (("operator",), ["projections", "letters", "events"]),
        ((), []),
    ],
)
def test_pages_follow_the_scopes(scopes: tuple[str, ...], shown: list[str]) -> None:
    assert pages(session_of(*scopes)) == shown


@pytest.mark.parametrize(
    ("status", "customer", "staff"),
    [
        ("PAYMENT_WAITING", ["cancel"], ["cancel"]),
        ("PREPARING", ["cancel"], ["ship", "cancel"]),
        ("SHIPPED", [], ["start-delivery"]),
        ("DELIVERING", [], ["complete-delivery"]),
        ("DELIVERY_COMPLETED", [], []),
        ("CANCELED", [], []),
    ],
)
def test_commands_follow_status_and_scope(status: str, customer: list[str], staff: list[str]) -> None:
    order: dict[str, Any] = {"status": status, "payment": None}
    assert order_actions(session_of("customer"), order) == customer
    assert order_actions(session_of("staff"), order) == staff
    assert order_actions(session_of("operator"), order) == []
    assert order_actions(session_of("staff"), order | {"payment": {"status": "REQUESTED"}}) == []


def test_a_session_that_ends_keeps_no_token_and_says_so_once() -> None:
    told: list[Session] = []
    sessions = Sessions(told.append)
    session = sessions.begin(jwt.encode({"sub": "ann", "exp": 4_000_000_000}, JWT_SECRET))
    assert session.token not in repr(session)
    for _ in range(2):
        sessions.end(session)
    assert (told, session.token, session.is_valid, sessions.find(session.key)) == ([session], "", False, None)


def test_what_comes_from_elsewhere_is_escaped() -> None:
    assert tag("b", "<i>", title='"') == '<b title="&quot;">&lt;i&gt;</b>'
    assert link("x", "/orders/a b?", {"q": "&", "none": ""}) == '<a href="/orders/a%20b%3F?q=%26">x</a>'
    assert 'value="&lt;&quot;"' in field("l", "n", '<"')


def test_everything_is_said_in_both_languages() -> None:
    for key, (english, korean) in _CATALOG.items():
        assert english, key
        assert korean, key
        assert english.count("{") == korean.count("{"), key


@pytest.mark.parametrize(
    ("accepted", "chosen", "spoken"),
    [("ko-KR,ko;q=0.9,en;q=0.8", None, "ko"), ("fr, en;q=0.5", None, "en"), ("ko", "en", "en"), ("", "xx", "en")],
)
def test_the_language_is_the_chosen_one_or_the_browsers(accepted: str, chosen: str | None, spoken: str) -> None:
    assert language_of(accepted, chosen) == spoken


def test_a_word_that_is_not_in_the_catalog_is_shown_as_it_is() -> None:
    assert say("ko", "OrderArchived") == "OrderArchived"


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "orders", "", None])
def test_nobody_is_sent_to_another_site(path: str | None) -> None:
    assert inside(path) == "/"
    assert inside("/orders?status=SHIPPED") == "/orders?status=SHIPPED"


def test_rates_are_over_the_last_seconds() -> None:
    samples = deque([(0.0, 0, 0.0), (1.0, 100, 0.0), (2.0, 100, 0.0)])
    assert rates(samples) == [(1.0, 100.0), (2.0, 50.0)]


def test_quantiles_are_the_bounds_of_the_projectors_histogram() -> None:
    name = "readside_commit_to_visible_seconds_bucket"
    counts = {"0.01": 60, "0.1": 98, "1.0": 100, "+Inf": 100}
    told = "\n".join(f'{name}{{le="{bound}",projection="v"}} {count}' for bound, count in counts.items())
    assert quantiles(told) == {"v": (0.01, 1.0)}
    assert quantiles("") == {}
