"""What is parked in one instance of a view, as its owner reads it from the dead letters."""

from typing import Any

from projector.dead_letters import DEAD_LETTERS, OPEN
from projector.feed import Aggregate
from runtime.mongo import Database

_DISCARDED = "discarded"
_LONGEST_WAIT_SECONDS = 86_400
_DUE_AT_A_TIME = 100


class Parked:
    """The dead letters of one instance."""

    def __init__(self, database: Database, view: str, instance: str) -> None:
        self._letters = database[DEAD_LETTERS]
        self._view = view
        self._instance = instance
        self._open = {"instance": instance, "state": {"$in": list(OPEN)}}

    async def aggregates(self) -> set[Aggregate]:
        """The aggregates whose events wait."""
        found = self._letters.find(self._open, {"aggregate_type": 1, "aggregate_id": 1})
        return {_aggregate(letter) async for letter in found}

    async def marks(self) -> dict[str, set[Aggregate]]:
        """The documents that lack such events, each with the aggregates that they are of."""
        marks: dict[str, set[Aggregate]] = {}
        async for letter in self._letters.find(self._open, {"aggregate_type": 1, "aggregate_id": 1, "documents": 1}):
            for key in letter.get("documents", ()):
                marks.setdefault(key, set()).add(_aggregate(letter))
        return marks

    async def discarded(self) -> set[int]:
        """The positions to skip: of the view, whichever instance was asked, so that a rebuild skips them too."""
        found = self._letters.find({"projection": self._view, "state": _DISCARDED}, {"position": 1})
        return {letter["position"] async for letter in found}

    async def requested(self) -> list[Aggregate]:
        """The aggregates of which an operator wants something, in the order of the log."""
        query = {"instance": self._instance, "request.at": {"$exists": True}}
        found = self._letters.find(query, {"aggregate_type": 1, "aggregate_id": 1}).sort("position", 1)
        # Once each, in this order.
        return list({_aggregate(letter): None async for letter in found})

    async def due(self, after_seconds: int) -> list[Aggregate]:
        """The aggregates to be tried again by themselves: so long after a failure, then twice as long, and so on."""
        wait = {"$multiply": [after_seconds * 1000, {"$pow": [2, {"$min": [{"$ifNull": ["$retries", 0]}, 20]}]}]}
        since = {"$subtract": ["$$NOW", "$last_failed_at"]}
        is_due = {"$expr": {"$gte": [since, {"$min": [wait, _LONGEST_WAIT_SECONDS * 1000]}]}}
        query = {"instance": self._instance, "state": "failed", "request": None, **is_due}
        found = self._letters.find(query, {"aggregate_type": 1, "aggregate_id": 1}).sort("position", 1)
        return [_aggregate(letter) async for letter in found.limit(_DUE_AT_A_TIME)]

    async def letters_of(self, aggregate: Aggregate) -> list[dict[str, Any]]:
        """Its letters, whole, in the order of the log."""
        query = {**self._open, "aggregate_type": aggregate[0], "aggregate_id": aggregate[1]}
        return await self._letters.find(query).sort("position", 1).to_list(None)


def _aggregate(letter: dict[str, Any]) -> Aggregate:
    return letter["aggregate_type"], letter["aggregate_id"]
