"""The commands that the load gives, each with the events that it may cause."""

from tests.torture.ledger import Command, Json

CARDS = ("tok_fine", "tok_fine", "tok_fine", "tok_lost", "tok_twice", "tok_fail_1")
"""What the gateway makes of them: it approves; it loses its answer, gives it twice, is down for a moment."""
PRODUCTS = [f"t-{number}" for number in range(8)]


def _shipping_info(word: str) -> Json:
    return {
        "receiver": {"name": "Ann", "phone": "555"},
        "address": {"zip_code": "12345", "address1": "1 Example Street", "address2": ""},
        "message": word,
    }


def register_member(word: str) -> Command:
    """Sign up under an address that holds the word."""
    email = f"{word}@example.org"
    body = {"email": email, "name": f"Member {word[:8]}", "password": "a password of some length"}
    return Command("POST", "/members", body, "member", (("MemberRegistered",),), {"email": email})


def register_product(product_id: str, *, category: str, unit_price: int, stock: int) -> Command:
    """A product enters the catalog."""
    told = {"name": f"Product {product_id}", "category": category, "unit_price": unit_price, "stock": stock}
    body = {"product_id": product_id, **told}
    return Command("POST", "/products", body, "product", (("ProductRegistered",),), told, product_id)


def adjust_stock(product_id: str, delta: int, word: str) -> Command:
    """Pieces come or go, for a reason that is the word."""
    body = {"delta": delta, "reason": word}
    path = f"/products/{product_id}/adjust-stock"
    return Command("POST", path, body, "product", (("StockAdjusted",),), body, product_id)


def change_product(product_id: str, unit_price: int, word: str) -> Command:
    """Another price, and the word as its name."""
    body = {"name": word, "unit_price": unit_price}
    path = f"/products/{product_id}"
    return Command("PATCH", path, body, "product", (("ProductDetailsChanged",),), body, product_id)


def place_order(lines: list[tuple[str, int]], word: str) -> Command:
    """An order whose message is the word."""
    body = {
        "lines": [{"product_id": product_id, "quantity": quantity} for product_id, quantity in lines],
        "shipping_info": _shipping_info(word),
    }
    holds = {"shipping_info": body["shipping_info"]}
    return Command("POST", "/orders", body, "order", (("OrderPlaced",),), holds)


def pay(order_id: str, card_token: str) -> Command:
    """Ask for the payment; what the gateway says of this card is no answer to this command."""
    body = {"method": "card", "card_token": card_token}
    return Command("POST", f"/orders/{order_id}/pay", body, "order", (("PaymentRequested",),), body, order_id)


def redirect(order_id: str, word: str) -> Command:
    """Send it elsewhere, with the word as message."""
    body = _shipping_info(word)
    path = f"/orders/{order_id}/change-shipping-info"
    return Command("POST", path, body, "order", (("ShippingInfoChanged",),), {"shipping_info": body}, order_id)


def ship(order_id: str, word: str) -> Command:
    """Hand it to the carrier, the word being the tracking number."""
    body = {"carrier": "Snail", "tracking_number": word}
    return Command("POST", f"/orders/{order_id}/ship", body, "order", (("ShippingStarted",),), body, order_id)


def start_delivery(order_id: str) -> Command:
    """On its last mile."""
    path = f"/orders/{order_id}/start-delivery"
    return Command("POST", path, {}, "order", (("DeliveryStarted",),), {}, order_id)


def complete_delivery(order_id: str) -> Command:
    """It arrived."""
    path = f"/orders/{order_id}/complete-delivery"
    return Command("POST", path, {}, "order", (("DeliveryCompleted",),), {}, order_id)


def cancel(order_id: str, word: str) -> Command:
    """Call it off, for a reason that is the word; what was paid is refunded later."""
    body = {"reason": word}
    return Command("POST", f"/orders/{order_id}/cancel", body, "order", (("OrderCanceled",),), body, order_id)
