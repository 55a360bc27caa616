"""One order through the whole path: commands to the command API, answers from the query API.

Nothing here sleeps or polls: every question carries the token of the command whose effects it asks about. What comes of
a payment is no command's effect: it is watched for, in the order's stream.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from httpx_sse import EventSource, connect_sse
from pydantic import SecretStr

from runtime.settings import Settings
from runtime.tokens import Tokens, secret_of
from tests.e2e.stack import Stack

pytestmark = pytest.mark.slow

SHIPPING = {
    "receiver": {"name": "Ann", "phone": "555-0100"},
    "address": {"zip_code": "12345", "address1": "1 Example Street"},
}


class Person:
    """Somebody with a token: tells the command API, and asks the query API about what they have told last."""

    def __init__(self, command_url: str, query_url: str, token: str | None = None) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._commands = httpx.Client(base_url=command_url, headers=headers, timeout=60)
        self._queries = httpx.Client(base_url=query_url, headers=headers, timeout=60)
        self.consistency_token = ""

    def tell(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send a command, which must succeed."""
        answer = self._commands.request(method, path, json=body)
        assert answer.is_success, answer.text
        self.consistency_token = answer.headers["Consistency-Token"]
        return answer

    def sign_in(self, email: str, password: str) -> str:
        """A token of one's own."""
        answer = self._commands.post("/token", data={"username": email, "password": password})
        token: str = answer.json()["access_token"]
        return token

    def ask(self, path: str, *, status: int = 200, **query: str) -> httpx.Response:
        """Ask, and be answered as of the last command."""
        headers = {"Consistency-Token": self.consistency_token, "Prefer": "wait=30"}
        answer = self._queries.get(path, params=query, headers=headers)
        assert answer.status_code == status, answer.text
        assert int(answer.headers["Read-Model-Position"]) > 0
        assert float(answer.headers["Read-Model-Lag-Seconds"]) >= 0
        return answer

    def until_settled(self, order_id: str) -> dict[str, Any]:
        """Watch an order of one's own until its payment, or its refund, was answered: the order then."""
        with self.watch(f"/orders/{order_id}/stream") as stream:
            for state in stream.iter_sse():
                order: dict[str, Any] = state.json()
                if order["payment"]["status"] not in ("REQUESTED", "REFUND_REQUESTED"):
                    return order
        raise AssertionError("the stream ended")

    def watch(self, path: str, **query: str) -> AbstractContextManager[EventSource]:
        """Listen to a stream of the query API, from the last command on."""
        headers = {"Consistency-Token": self.consistency_token, "Prefer": "wait=30"}
        return connect_sse(self._queries, "GET", path, params=query, headers=headers)

    def close(self) -> None:
        """Let go of the connections."""
        self._commands.close()
        self._queries.close()


class People:
    """Makes people, and sees them off."""

    def __init__(self, stack: Stack) -> None:
        run = stack.until_ready()
        self._urls = f"http://127.0.0.1:{run.command_port}", f"http://127.0.0.1:{run.query_port}"
        self._secret = secret_of(stack.data_dir) or ""
        self._made: list[Person] = []

    def anybody(self, token: str | None = None) -> Person:
        """Somebody with this token, or none."""
        self._made.append(Person(*self._urls, token))
        return self._made[-1]

    def staff(self) -> Person:
        """One of the shop."""
        return self.anybody(Tokens(Settings(jwt_secret=SecretStr(self._secret))).issue("shop", ["staff", "operator"]))

    def member(self, name: str) -> tuple[str, Person]:
        """A new member, signed up and signed in."""
        visitor = self.anybody()
        account = {"email": f"{name}@example.com", "password": "correct horse battery"}
        member_id: str = visitor.tell("POST", "/members", {**account, "name": name}).json()["member_id"]
        member = self.anybody(visitor.sign_in(account["email"], account["password"]))
        member.consistency_token = visitor.consistency_token
        return member_id, member

    def leave(self) -> None:
        """Everybody goes home."""
        for person in self._made:
            person.close()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """Those who use one running shop."""
    with Stack(tmp_path_factory.mktemp("shop") / "data") as stack:
        people = People(stack)
        yield people
        people.leave()


def _registered(staff: Person, product_id: str, category: str) -> None:
    product = {"product_id": product_id, "name": "Pen", "category": category, "unit_price": 250, "stock": 10}
    staff.tell("POST", "/products", product)


def _placed(member: Person, product_id: str, quantity: int) -> str:
    body = {"lines": [{"product_id": product_id, "quantity": quantity}], "shipping_info": SHIPPING}
    order_id: str = member.tell("POST", "/orders", body).json()["order_id"]
    return order_id


def _paid(staff: Person, member: Person, order_id: str) -> None:
    """Pay, and have the answer; whatever either of them asks next, by the token of a later command, includes it."""
    member.tell("POST", f"/orders/{order_id}/pay", {"method": "card", "card_token": "tok_visa"})
    assert member.until_settled(order_id)["status"] == "PREPARING"
    _is_past(staff, member)


def _is_past(staff: Person, member: Person) -> None:
    probe = {"product_id": str(uuid4()), "name": "Probe", "category": "probes", "unit_price": 1, "stock": 0}
    staff.tell("POST", "/products", probe)
    member.consistency_token = staff.consistency_token


def _sales(staff: Person, category: str) -> dict[str, Any]:
    rows = staff.ask("/statistics/sales", group_by="category", granularity="month").json()["rows"]
    return next(row for row in rows if row["key"] == category)


def test_an_order_is_seen_in_every_view_as_soon_as_its_command_was_answered(people: People) -> None:
    staff, (member_id, member) = people.staff(), people.member("ann")
    assert member.ask("/members/me").json()["order_count"] == 0
    _registered(staff, "pen", "office")
    assert staff.ask("/products/pen").json()["stock"] == 10

    order_id = _placed(member, "pen", 3)
    assert member.ask(f"/orders/{order_id}").json()["status"] == "PAYMENT_WAITING"
    _paid(staff, member, order_id)

    detail = member.ask(f"/orders/{order_id}")
    order = detail.json()
    assert detail.headers["ETag"] == f'"{order["version"]}"'
    assert (order["order_id"], order["status"]) == (order_id, "PREPARING")
    assert order["orderer"] == {"member_id": member_id, "name": "ann"}
    assert (order["total_amount"], order["payment"]["status"]) == (750, "APPROVED")
    assert [step["event"] for step in order["timeline"]] == ["OrderPlaced", "PaymentRequested", "OrderPaid"]

    [listed] = member.ask("/orders").json()["items"]
    assert (listed["order_id"], listed["status"], listed["units"]) == (order_id, "PREPARING", 3)
    assert member.ask("/products/pen").json()["stock"] == 7
    profile = member.ask("/members/me").json()
    assert (profile["order_count"], profile["lifetime_value"]) == (1, 750)
    assert profile["last_order"]["order_id"] == order_id

    staff.consistency_token = member.consistency_token
    sold = _sales(staff, "office")
    assert (sold["placed_orders"], sold["paid_orders"], sold["units"]) == (1, 1, 3)
    assert (sold["gross_sales"], sold["net_sales"]) == (750, 750)
    best = staff.ask("/statistics/products").json()["items"]
    assert {"product_id": "pen", "name": "Pen", "units": 3} in [
        {name: item[name] for name in ("product_id", "name", "units")} for item in best
    ]


def test_a_canceled_order_is_taken_back_everywhere(people: People) -> None:
    staff, (_, member) = people.staff(), people.member("bob")
    _registered(staff, "ball", "toys")
    order_id = _placed(member, "ball", 4)
    _paid(staff, member, order_id)
    member.tell("POST", f"/orders/{order_id}/cancel", {"reason": "changed my mind"})
    assert member.until_settled(order_id)["payment"]["status"] == "REFUNDED"
    _is_past(staff, member)

    order = member.ask(f"/orders/{order_id}").json()
    assert (order["status"], order["cancellation"]["reason"]) == ("CANCELED", "changed my mind")
    assert order["refund"]["amount"] == 1000
    assert member.ask("/products/ball").json()["stock"] == 10
    assert member.ask("/members/me").json()["lifetime_value"] == 0
    staff.consistency_token = member.consistency_token
    sold = _sales(staff, "toys")
    assert (sold["gross_sales"], sold["canceled_orders"], sold["canceled_amount"]) == (1000, 1, 1000)
    assert sold["net_sales"] == 0


def test_coupon_points_and_a_card_whose_answer_was_lost_pay_an_order_and_all_come_back(people: People) -> None:
    staff, (member_id, member) = people.staff(), people.member("gil")
    _registered(staff, "globe", "maps")
    staff.tell("POST", f"/members/{member_id}/charge-points", {"points": 300, "reason": "a gift"})
    terms = {"name": "Ten percent", "kind": "percent", "value": 10, "valid_until": "2100-01-01T00:00:00Z"}
    staff.tell("POST", "/coupons", {"coupon_code": "GLOBE", **terms})
    staff.tell("POST", "/coupons/GLOBE/issue", {"member_id": member_id})

    order = {"lines": [{"product_id": "globe", "quantity": 4}], "shipping_info": SHIPPING, "coupon_code": "GLOBE"}
    order_id = member.tell("POST", "/orders", order).json()["order_id"]
    payment = {"method": "points", "points": 300, "card_token": "tok_lost"}
    member.tell("POST", f"/orders/{order_id}/pay", payment)
    paid = member.until_settled(order_id)
    _is_past(staff, member)
    left = member.ask("/members/me/points").json()["balance"]
    held = member.ask("/members/me/coupons").json()["items"][0]
    member.tell("POST", f"/orders/{order_id}/cancel", {"reason": "changed my mind"})
    refunded = member.until_settled(order_id)
    _is_past(staff, member)

    assert (paid["total_amount"], paid["discount_amount"], paid["points_used"], paid["payment_amount"]) == (
        1000,
        100,
        300,
        600,
    )
    taken = [paid[name] for name in ("status", "stock_status", "coupon_status", "points_status")]
    assert taken == ["PREPARING", "SOLD", "USED", "USED"]
    assert (left, held["state"], held["order_id"]) == (0, "USED", order_id)
    back = [refunded[name] for name in ("status", "stock_status", "coupon_status", "points_status")]
    assert back == ["CANCELED", "RELEASED", "RETURNED", "RETURNED"]
    assert refunded["payment"]["status"] == "REFUNDED"
    assert member.ask("/members/me/points").json()["balance"] == 300
    assert member.ask("/members/me/coupons").json()["items"][0]["state"] == "ISSUED"
    assert staff.ask("/products/globe").json()["stock"] == 10


def test_a_declined_card_leaves_an_order_that_another_card_pays(people: People) -> None:
    staff, (_, member) = people.staff(), people.member("hal")
    _registered(staff, "hat", "clothes")
    order_id = _placed(member, "hat", 1)

    member.tell("POST", f"/orders/{order_id}/pay", {"method": "card", "card_token": "tok_declined"})
    declined = member.until_settled(order_id)
    _paid(staff, member, order_id)

    assert (declined["status"], declined["payment"]["decline_code"]) == ("PAYMENT_WAITING", "card-declined")
    assert [step["event"] for step in member.ask(f"/orders/{order_id}").json()["timeline"]] == [
        "OrderPlaced",
        "PaymentRequested",
        "PaymentDeclined",
        "PaymentRequested",
        "OrderPaid",
    ]


def test_a_hundred_orders_in_a_row_are_each_read_back_at_once(people: People) -> None:
    staff, (_, member) = people.staff(), people.member("cleo")
    _registered(staff, "clip", "small")
    staff.tell("POST", "/products/clip/adjust-stock", {"delta": 1000, "reason": "delivery"})
    for count in range(1, 101):
        order_id = _placed(member, "clip", 1)
        assert member.ask(f"/orders/{order_id}").json()["version"] == 1
        assert member.ask("/orders", limit="1").json()["items"][0]["order_id"] == order_id
        assert member.ask("/products/clip").json()["stock"] == 1010 - count
        assert member.ask("/members/me").json()["order_count"] == count


def test_orders_placed_at_full_speed_are_each_read_back_by_their_tokens(people: People) -> None:
    staff = people.staff()
    _registered(staff, "nail", "small")
    staff.tell("POST", "/products/nail/adjust-stock", {"delta": 1000, "reason": "delivery"})
    members = [people.member(f"member-{number}")[1] for number in range(8)]

    def shopping(member: Person) -> int:
        for count in range(1, 21):
            order_id = _placed(member, "nail", 1)
            # `ask` fails where the answer is not 200: the wait was over, or the order was not there yet.
            assert member.ask(f"/orders/{order_id}").json()["version"] == 1
            assert member.ask("/orders", limit="1").json()["items"][0]["order_id"] == order_id
            assert member.ask("/members/me").json()["order_count"] == count
        return count

    with ThreadPoolExecutor(len(members)) as threads:
        assert list(threads.map(shopping, members)) == [20] * len(members)
    staff.consistency_token = members[-1].consistency_token
    assert staff.ask("/products/nail").json()["stock"] >= 1010 - 20 * len(members)


def test_nobody_sees_the_order_of_another(people: People) -> None:
    staff, (_, dora), (_, emil) = people.staff(), people.member("dora"), people.member("emil")
    _registered(staff, "cup", "kitchen")
    order_id = _placed(dora, "cup", 1)
    emil.consistency_token = dora.consistency_token
    emil.ask(f"/orders/{order_id}", status=404)
    assert emil.ask("/orders").json() == {"items": [], "next_cursor": None}


def test_who_watches_sees_an_order_and_the_sales_change_with_each_command(people: People) -> None:
    staff, (_, fay) = people.staff(), people.member("fay")
    _registered(staff, "lamp", "light")
    order_id = _placed(fay, "lamp", 2)
    staff.consistency_token = fay.consistency_token
    steps: dict[str, Callable[[], object]] = {
        "PREPARING": lambda: _paid(staff, fay, order_id),
        "SHIPPED": lambda: staff.tell("POST", f"/orders/{order_id}/ship", {"carrier": "c", "tracking_number": "1"}),
        "DELIVERING": lambda: staff.tell("POST", f"/orders/{order_id}/start-delivery", {}),
        "DELIVERY_COMPLETED": lambda: staff.tell("POST", f"/orders/{order_id}/complete-delivery", {}),
    }
    with fay.watch(f"/orders/{order_id}/stream") as order, staff.watch("/statistics/sales/stream") as sales:
        states, sums = order.iter_sse(), sales.iter_sse()
        assert next(states).json()["status"] == "PAYMENT_WAITING"
        sold = next(sums).json()["totals"]["gross_sales"]
        for status, step in steps.items():
            step()
            assert next(state for state in states if state.json()["status"] == status).json()["order_id"] == order_id
        assert next(moved for moved in sums if moved.json()["totals"]["gross_sales"] == sold + 500)
