"""The loop that somebody would write by hand for exactly these views: read, fold, write, checkpoint in one
transaction, and nothing else. No kit, no retries, no standby, no metrics, no parking.

It writes the same documents as the product (the benchmark compares the two databases afterwards), with plain
dictionaries, asyncpg and pymongo, in one process.
"""

import asyncio
from collections import defaultdict
from typing import Any

import asyncpg
import msgspec
from pymongo import InsertOne, MongoClient, ReplaceOne, UpdateOne

_READ = (
    "SELECT position, event_type, aggregate_id, aggregate_version, occurred_at, payload"
    " FROM event_log WHERE position > $1 ORDER BY position LIMIT $2"
)
_decode = msgspec.json.Decoder().decode
_PENDING = {"status": "PAYMENT_WAITING", "payment": None, "shipment": None, "cancellation": None, "refund": None}


class Loop:
    """Everything in one class, as such loops are."""

    def __init__(self, postgres_url: str, mongo_url: str, database: str, batch: int) -> None:
        self._postgres_url, self._batch = postgres_url, batch
        self._client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
        self._database = self._client[database]
        self._orders: dict[str, dict[str, Any]] = {}
        self._products: dict[str, dict[str, Any]] = {}
        self._members: dict[str, dict[str, Any]] = {}

    async def catch_up(self, head: int) -> None:
        """Fold the log from its first event to ``head``."""
        for field in (("placed_at", -1), ("_id", -1)), (("status", 1), ("placed_at", -1), ("_id", -1)):
            self._database["orders"].create_index(list(field))
        for start in ([("orderer.member_id", 1)], [("orderer.member_id", 1), ("status", 1)]):
            self._database["orders"].create_index([*start, ("placed_at", -1), ("_id", -1)])
        self._database["products"].create_index([("category", 1), ("_id", 1)])
        self._database["statistics"].insert_one({"_id": "x"})
        self._database["members"].insert_one({"_id": "x"})
        self._database["statistics"].delete_one({"_id": "x"})
        self._database["members"].delete_one({"_id": "x"})
        self._database["checkpoint"].insert_one({"_id": "all", "position": 0})
        connection = await asyncpg.connect(self._postgres_url)
        position = 0
        while position < head:
            rows = await connection.fetch(_READ, position, self._batch)
            position = self._fold_and_write(rows, position)
        await connection.close()
        self._client.close()

    def _fold_and_write(self, rows: list[Any], before: int) -> int:
        new_orders: set[str] = set()
        changed_orders: set[str] = set()
        changed_products: set[str] = set()
        changed_members: set[str] = set()
        sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        position = int(rows[-1][0])
        for _, event_type, order_id, version, occurred_at, payload in rows:
            event = _decode(payload)
            at = occurred_at.isoformat(timespec="microseconds")[:26] + "Z"
            hour = occurred_at.strftime("%Y-%m-%dT%H:00")
            if event_type == "OrderPlaced":
                member_id = event["orderer"]["member_id"]
                self._orders[order_id] = {
                    "_id": order_id,
                    **_PENDING,
                    "version": version,
                    "currency": event["currency"],
                    "orderer": event["orderer"],
                    "lines": event["lines"],
                    "total_amount": event["total_amount"],
                    "discount_amount": event["discount_amount"],
                    "points_used": 0,
                    "payment_amount": event["total_amount"] - event["discount_amount"],
                    "coupon": None,
                    "stock_status": "RESERVED",
                    "coupon_status": None,
                    "points_status": None,
                    "shipping_info": event["shipping_info"],
                    "timeline": [{"event": event_type, "at": at}],
                    "placed_at": at,
                    "updated_at": at,
                }
                new_orders.add(order_id)
                for line in event["lines"]:
                    product = self._product(line["product_id"])
                    product["stock"] -= line["quantity"]
                    changed_products.add(line["product_id"])
                member = self._member(member_id)
                member["name"] = member["name"] or event["orderer"]["name"]
                member["order_count"] += 1
                member["currency"] = event["currency"]
                member["last_order"] = {"order_id": order_id, "placed_at": at, "total_amount": event["total_amount"]}
                changed_members.add(member_id)
                _book(sums, hour, event["lines"], "placed_orders", "placed_amount", None)
                continue
            order = self._orders[order_id]
            order["version"], order["updated_at"] = version, at
            order["timeline"].append({"event": event_type, "at": at})
            changed_orders.add(order_id)
            if event_type == "PaymentRequested":
                order["payment"] = {
                    "payment_id": event["payment_id"],
                    "method": event["method"],
                    "status": "REQUESTED",
                    "amount": event["amount"],
                    "points": event["points"],
                    "requested_at": at,
                    "approved_at": None,
                    "declined_at": None,
                    "decline_code": None,
                    "decline_reason": None,
                }
                order["points_used"], order["payment_amount"] = event["points"], event["amount"]
            elif event_type == "OrderPaid":
                order["status"], order["payment"]["status"] = "PREPARING", "APPROVED"
                order["payment"]["approved_at"], order["stock_status"] = at, "SOLD"
                self._member(event["member_id"])["lifetime_value"] += sum(line["amount"] for line in event["lines"])
                changed_members.add(event["member_id"])
                _book(sums, hour, event["lines"], "paid_orders", "gross_sales", "units")
            elif event_type == "OrderCanceled":
                order["status"], order["payment"]["status"] = "CANCELED", "REFUND_REQUESTED"
                order["stock_status"] = "RELEASED"
                order["cancellation"] = {
                    "reason": event["reason"],
                    "canceled_by": event["canceled_by"],
                    "canceled_at": at,
                }
                order["refund"] = {
                    "status": "REFUND_REQUESTED",
                    "amount": event["refund_amount"],
                    "requested_at": at,
                    "settled_at": None,
                    "failure": None,
                }
                for line in event["lines"]:
                    self._product(line["product_id"])["stock"] += line["quantity"]
                    changed_products.add(line["product_id"])
                self._member(event["member_id"])["lifetime_value"] -= sum(line["amount"] for line in event["lines"])
                changed_members.add(event["member_id"])
                _book(sums, hour, event["lines"], "canceled_orders", "canceled_amount", None)
            elif event_type == "RefundCompleted":
                order["payment"]["status"] = order["refund"]["status"] = "REFUNDED"
                order["refund"]["settled_at"] = at
        self._write(before, position, new_orders, changed_orders, changed_products, changed_members, sums)
        return position

    def _write(
        self,
        before: int,
        position: int,
        new_orders: set[str],
        changed_orders: set[str],
        changed_products: set[str],
        changed_members: set[str],
        sums: dict[str, dict[str, int]],
    ) -> None:
        database = self._database
        with self._client.start_session() as session, session.start_transaction():
            guard = {"_id": "all", "position": before}
            moved = database["checkpoint"].update_one(guard, {"$set": {"position": position}}, session=session)
            assert moved.matched_count == 1
            writes: list[Any] = [InsertOne(self._orders[key]) for key in new_orders]
            writes += [ReplaceOne({"_id": key}, self._orders[key]) for key in changed_orders - new_orders]
            database["orders"].bulk_write(writes, ordered=False, session=session)
            for name, changed, held in (
                ("products", changed_products, self._products),
                ("members", changed_members, self._members),
            ):
                if changed:
                    replaced = [ReplaceOne({"_id": key}, held[key], upsert=True) for key in changed]
                    database[name].bulk_write(replaced, ordered=False, session=session)
            increments = [UpdateOne({"_id": key}, {"$inc": dict(held)}, upsert=True) for key, held in sums.items()]
            database["statistics"].bulk_write(increments, ordered=False, session=session)

    def _product(self, product_id: str) -> dict[str, Any]:
        found = self._products.get(product_id)
        if found is None:
            found = self._products[product_id] = {
                "_id": product_id,
                "name": "",
                "category": "",
                "unit_price": 0,
                "currency": "",
                "stock": 0,
                "version": 0,
                "registered_at": "",
                "updated_at": "",
            }
        return found

    def _member(self, member_id: str) -> dict[str, Any]:
        found = self._members.get(member_id)
        if found is None:
            found = self._members[member_id] = {
                "_id": member_id,
                "email": None,
                "email_verified": False,
                "name": "",
                "version": 0,
                "registered_at": None,
                "order_count": 0,
                "lifetime_value": 0,
                "currency": None,
                "last_order": None,
            }
        return found


def _book(
    sums: dict[str, dict[str, int]], hour: str, lines: list[Any], orders: str, amount: str, units: str | None
) -> None:
    groups: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        for group in (("none", ""), ("product", line["product_id"]), ("category", line["category"])):
            held = groups.setdefault(group, [0, 0])
            held[0] += line["amount"]
            held[1] += line["quantity"]
    for (group_name, key), (money, pieces) in groups.items():
        for period in (f"hour|{group_name}|{hour}", f"day|{group_name}|{hour[:10]}", f"month|{group_name}|{hour[:7]}"):
            counters = sums[f"{period}|{key}"]
            counters[orders] += 1
            counters[amount] += money
            if units is not None:
                counters[units] += pieces


def run(postgres_url: str, mongo_url: str, database: str, head: int, batch: int) -> None:
    """Catch up in this process."""
    asyncio.run(Loop(postgres_url, mongo_url, database, batch).catch_up(head))
