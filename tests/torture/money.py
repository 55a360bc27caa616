"""Whether the money adds up, by the log alone: every payment has one end, and nobody has both the goods and the money.

Shares no code with the saga: it counts what each context said, per payment and per order, once all has come to rest.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tests.torture.ledger import Json

_OF_PAYMENTS = ("PaymentCaptured", "PaymentFailed", "PaymentVoided", "PaymentRefunded", "PaymentRefundFailed")
_OF_ORDERS = ("PaymentRequested", "OrderPaid", "PaymentDeclined", "RefundCompleted")


def judged_money(log: Sequence[Json]) -> list[str]:
    """What is wrong, a line each; empty where every payment that was asked for is settled, and settled once."""
    said: dict[str, Counter[str]] = defaultdict(Counter)
    canceled: set[str] = set()
    uncertain: set[str] = set()
    for event in log:
        name, data = event["type"], event["data"]
        if name in _OF_PAYMENTS:
            said[event["aggregateid"]][name] += 1
            if data.get("is_uncertain"):
                uncertain.add(event["aggregateid"])
        elif name in _OF_ORDERS:
            said[data["payment_id"]][name] += 1
        elif name == "OrderCanceled" and data["payment_id"]:
            canceled.add(data["payment_id"])
    return [
        f"payment {payment_id}: {wrong} {dict(counts)}"
        for payment_id, counts in said.items()
        for wrong in _wrong(counts, is_canceled=payment_id in canceled, is_uncertain=payment_id in uncertain)
    ]


def _wrong(counts: Mapping[str, int], *, is_canceled: bool, is_uncertain: bool) -> list[str]:
    paid, captured, refunded = counts["OrderPaid"], counts["PaymentCaptured"], counts["PaymentRefunded"]
    rules = {
        "asked for once": counts["PaymentRequested"] == 1,
        "captured or failed, and once": captured + counts["PaymentFailed"] <= 1,
        "paid or declined, and once": paid + counts["PaymentDeclined"] == 1,
        "paid for only what was captured": paid <= captured,
        "kept by the shop only for an order that stands": captured - refunded == (paid and not is_canceled),
        "refunded to the end, once": counts["RefundCompleted"] == (paid if is_canceled else 0),
        "void where nobody knew": counts["PaymentVoided"] == is_uncertain,
    }
    return [f"not {rule}:" for rule, holds in rules.items() if not holds]
