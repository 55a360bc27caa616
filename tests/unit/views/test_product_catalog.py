"""Product catalog: what is sold, for how much, and what is left of it."""

from events.catalog import ProductDetailsChanged, ProductRegistered, StockAdjusted
from tests.builders import a_line
from tests.unit.views.given import STAMP, a_canceled_order, a_paid_order, a_placed_order, given
from views.product_catalog import view

REGISTERED = ProductRegistered(name="Mug", category="kitchen", unit_price=700, currency="EUR", stock=10)
MUG = {
    "name": "Mug",
    "category": "kitchen",
    "unit_price": 700,
    "currency": "EUR",
    "stock": 10,
    "version": 1,
    "registered_at": STAMP,
    "updated_at": STAMP,
}


def test_a_registered_product_stands_in_the_window() -> None:
    given(view, REGISTERED).then("p-1", **MUG)


def test_changed_details_leave_the_stock_alone() -> None:
    changed = ProductDetailsChanged(name="Big mug", category="gifts", unit_price=900)

    given(view, REGISTERED, changed).then(
        "p-1", **MUG | {"name": "Big mug", "category": "gifts", "unit_price": 900, "version": 2}
    )


def test_stock_is_adjusted_in_both_directions() -> None:
    given(view, REGISTERED, StockAdjusted(delta=5, reason="delivery"), StockAdjusted(delta=-2, reason="broken")).then(
        "p-1", **MUG | {"stock": 13, "version": 3}
    )


def test_an_order_takes_from_the_stock_when_it_is_placed_and_not_again_when_it_is_paid() -> None:
    given(view, REGISTERED, a_placed_order(), a_paid_order()).then("p-1", **MUG | {"stock": 8})


def test_an_order_with_the_product_on_two_lines_takes_both() -> None:
    order = a_placed_order(a_line(quantity=1), a_line("p-2", quantity=4), a_line(quantity=3))

    after = given(view, REGISTERED, order)

    after.then("p-1", **MUG | {"stock": 6})
    after.then("p-2", stock=-4)


def test_a_canceled_order_puts_back_what_it_took_paid_or_not() -> None:
    for was_paid in (True, False):
        given(view, REGISTERED, a_placed_order(), a_canceled_order(was_paid=was_paid)).then("p-1", **MUG)


def test_the_order_of_registration_and_first_sale_does_not_matter_to_the_stock() -> None:
    # Two aggregates: nothing orders the product's events before those of an order for it.
    given(view, a_placed_order(), REGISTERED).then("p-1", **MUG | {"stock": 8})
