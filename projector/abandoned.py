"""Ending the transactions that a killed projector left open.

MongoDB keeps an open transaction, and what it has written locked, until its lifetime ends: 60 seconds by default. The
connection's end does not shorten that. Whoever takes over would run into those locks all that time.

A transaction is abandoned when the connection that it was last heard on is gone. Not when it has been idle for long:
a living projector encodes thousands of documents between two statements, on a busy machine for seconds, and would
have the same batch taken from it again and again.
"""

from typing import Any

from pymongo.errors import OperationFailure

from runtime.mongo import Database

APP_NAME = "readside projector"
# Longer than the server takes to list connections and sessions: no transaction on a connection that was opened in
# between can have been idle for that long.
_IDLE_MICROSECONDS = 100_000
_CONNECTIONS_AND_SESSIONS: list[dict[str, Any]] = [
    {"$currentOp": {"allUsers": False, "idleConnections": True, "idleSessions": True}},
    {"$match": {"appName": APP_NAME}},
    {"$project": {"type": 1, "connectionId": 1, "lsid.id": 1, "transaction.timeInactiveMicros": 1}},
]


async def end_abandoned_transactions(database: Database) -> int:
    """End what projectors that are gone have left open; how many transactions that were."""
    admin = database.client.admin
    try:
        found: list[dict[str, Any]] = [one async for one in admin.aggregate(_CONNECTIONS_AND_SESSIONS)]
        alive = {one["connectionId"] for one in found if one["type"] == "op" and "connectionId" in one}
        abandoned = [one["lsid"] for one in found if _is_idle_transaction(one) and one["connectionId"] not in alive]
        if abandoned:
            await admin.command("killSessions", abandoned)
    except OperationFailure:
        return 0  # not allowed to look, or to end them: their lifetime will
    return len(abandoned)


def _is_idle_transaction(one: dict[str, Any]) -> bool:
    idle_for = one.get("transaction", {}).get("timeInactiveMicros", 0)
    return one["type"] == "idleSession" and "connectionId" in one and bool(idle_for > _IDLE_MICROSECONDS)
