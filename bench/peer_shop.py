"""The shop by the library ``eventsourcing``: an aggregate, its application, and a projection into MongoDB.

`project` is a process of its own, told by the environment where its databases are.
"""

import os
import time
from collections import Counter
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError, Tracking
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import get_topic
from pymongo import MongoClient, UpdateOne
from pymongo.read_concern import ReadConcern

from command.ordering.model import Order
from projector.together import DURABLE

TRACKING, CAUGHT_UP_AT = "tracking", "at"


def environment(database: str, host: str, mongo: str, views: str) -> dict[str, str]:
    """As the library is told, with what its pages recommend where much is written."""
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": database,
        "POSTGRES_HOST": host,
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": "",
        # The projection's own tracking is in MongoDB, in the transaction of its documents.
        "SALES_PERSISTENCE_MODULE": "eventsourcing.popo",
        "PEER_MONGO_URL": mongo,
        "PEER_MONGO_DATABASE": views,
    }


class PeerOrder(Aggregate):
    """An order; what happens to it is kept as the event's fields are."""

    @event("Happened")
    def happen(self, kind: str, at: str, payload: dict[str, Any]) -> None:
        """One event."""


class Shop(Application[UUID]):
    """Records orders."""


def record(shop: Shop, order: Order) -> int:
    """All events of an order in one transaction. Returns the id of the last notification."""
    peer = PeerOrder()
    for pending in order.recorded:
        payload = msgspec.json.decode(msgspec.json.encode(pending.event))
        peer.happen(type(pending.event).__name__, pending.occurred_at.isoformat(), payload)
    recorded = shop.save(peer)
    return int(recorded[-1].notification.id)


class SalesView(POPOTrackingRecorder):
    """Documents and the place in the sequence, in MongoDB."""

    client: ClassVar[MongoClient[dict[str, Any]]]

    def __init__(self) -> None:
        super().__init__()
        self._client: MongoClient[dict[str, Any]] = MongoClient(os.environ["PEER_MONGO_URL"])
        self._database = self._client[os.environ["PEER_MONGO_DATABASE"]]
        for name in ("orders", "sales"):
            self._database[name].update_one({"_id": "none"}, {"$set": {"made": True}}, upsert=True)
        began = {"position": 0, "began_at": time.time()}
        self._database[TRACKING].update_one({"_id": "Shop"}, {"$setOnInsert": began}, upsert=True)

    def max_tracking_id(self, application_name: str) -> int | None:
        """Where it stands; none at the beginning."""
        found = self._database[TRACKING].find_one({"_id": application_name})
        return found["position"] or None if found else None

    def write(self, tracking: Tracking, order: UpdateOne, sums: list[UpdateOne]) -> None:
        """One event's effects. Raises `IntegrityError` where another one has been here."""
        guard = {"_id": tracking.application_name, "position": {"$lt": tracking.notification_id}}
        moved = {"$set": {"position": tracking.notification_id, CAUGHT_UP_AT: time.time()}}
        with (
            self._client.start_session() as session,
            session.start_transaction(read_concern=ReadConcern("local"), write_concern=DURABLE),
        ):
            if self._database[TRACKING].update_one(guard, moved, session=session).matched_count != 1:
                raise IntegrityError
            self._database["orders"].bulk_write([order], session=session)
            if sums:
                self._database["sales"].bulk_write(sums, ordered=False, session=session)


class Sales(Projection[SalesView]):
    """Order detail, and sales per day and per day and product."""

    name = "sales"
    # Not that an aggregate came to be, which the library records as an event of its own: Readside has no such event.
    topics = (get_topic(PeerOrder.Happened),)  # type: ignore[attr-defined]  # made by its decorator

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Called once per event."""
        kind, at, payload = domain_event.kind, domain_event.at, domain_event.payload
        fields: dict[str, Any] = {"updated_at": at, "version": domain_event.originator_version}
        if kind == "OrderPlaced":
            fields |= {"status": "PAYMENT_WAITING", **payload}
        elif kind == "OrderPaid":
            fields |= {"status": "PREPARING"}
        elif kind == "OrderCanceled":
            fields |= {"status": "CANCELED"}
        update = {"$set": fields, "$push": {"timeline": {"event": kind, "at": at}}}
        order = UpdateOne({"_id": str(domain_event.originator_id)}, update, upsert=True)
        self.view.write(tracking, order, _sums(kind, at[:10], payload))


def _sums(kind: str, day: str, payload: dict[str, Any]) -> list[UpdateOne]:
    names = {"OrderPlaced": ("placed", "placed_amount"), "OrderPaid": ("paid", "gross_sales")}.get(kind)
    if names is None:
        return []
    sums: dict[str, Counter[str]] = {}
    for line in payload["lines"]:
        for key in (day, f"{day}|{line['product_id']}"):
            counted = sums.setdefault(key, Counter({names[0]: 1}))
            counted[names[1]] += line["amount"]
            counted["units"] += line["quantity"]
    return [UpdateOne({"_id": key}, {"$inc": dict(counted)}, upsert=True) for key, counted in sums.items()]


def project() -> None:
    """Project until the process is ended; raises what the projection raised."""
    # Not as `__main__`: events are recorded under the module's name, and there their classes would be others.
    with ProjectionRunner(
        application_class=Shop, projection_class=Sales, view_class=SalesView, env=dict(os.environ)
    ) as runner:
        runner.run_forever()
