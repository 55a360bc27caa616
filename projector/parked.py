"""What is parked in one instance of a view, or in a reaction, as its owner reads it from the dead letters."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from projector.dead_letters import DEAD_LETTERS, OPEN
from projector.feed import Aggregate
from runtime.mongo import Database

K = TypeVar("K")
_DISCARDED = "discarded"
_LONGEST_WAIT_SECONDS = 86_400
_DUE_AT_A_TIME = 100


class Parked(Generic[K]):
    """The dead letters of one instance, by sequence: the events that wait for each other."""

    FIELDS: tuple[str, ...]
    """Those of a letter that name its sequence."""

    def __init__(self, database: Database, projection: str, instance: str) -> None:
        self._letters = database[DEAD_LETTERS]
        self._projection = projection
        self._instance = instance
        self._open = {"instance": instance, "state": {"$in": list(OPEN)}}

    def sequence(self, letter: Mapping[str, Any]) -> K:
        """The sequence that a letter belongs to."""
        raise NotImplementedError

    def of_sequence(self, sequence: K) -> dict[str, Any]:
        """A query for all letters of a sequence."""
        raise NotImplementedError

    async def discarded(self) -> set[int]:
        """The positions to skip: of the view, whichever instance was asked, so that a rebuild skips them too."""
        found = self._letters.find({"projection": self._projection, "state": _DISCARDED}, {"position": 1})
        return {letter["position"] async for letter in found}

    async def requested(self) -> list[K]:
        """The sequences of which an operator wants something, in the order of the log."""
        query = {"instance": self._instance, "request.at": {"$exists": True}}
        found = self._letters.find(query, dict.fromkeys(self.FIELDS, 1)).sort("position", 1)
        # Once each, in this order.
        return list({self.sequence(letter): None async for letter in found})

    async def due(self, after_seconds: int) -> list[K]:
        """The sequences to be tried again by themselves: so long after a failure, then twice as long, and so on."""
        wait = {"$multiply": [after_seconds * 1000, {"$pow": [2, {"$min": [{"$ifNull": ["$retries", 0]}, 20]}]}]}
        since = {"$subtract": ["$$NOW", "$last_failed_at"]}
        is_due = {"$expr": {"$gte": [since, {"$min": [wait, _LONGEST_WAIT_SECONDS * 1000]}]}}
        query = {"instance": self._instance, "state": "failed", "request": None, **is_due}
        found = self._letters.find(query, dict.fromkeys(self.FIELDS, 1)).sort("position", 1)
        return [self.sequence(letter) async for letter in found.limit(_DUE_AT_A_TIME)]

    async def letters_of(self, sequence: K) -> list[dict[str, Any]]:
        """Its letters, whole, in the order of the log."""
        query = {**self._open, **self.of_sequence(sequence)}
        return await self._letters.find(query).sort("position", 1).to_list(None)


class ParkedAggregates(Parked[Aggregate]):
    """Those of a view: its sequences are aggregates, and documents lack their events."""

    FIELDS = ("aggregate_type", "aggregate_id")

    def sequence(self, letter: Mapping[str, Any]) -> Aggregate:
        return letter["aggregate_type"], letter["aggregate_id"]

    def of_sequence(self, sequence: Aggregate) -> dict[str, Any]:
        return {"instance": self._instance, "aggregate_type": sequence[0], "aggregate_id": sequence[1]}

    async def aggregates(self) -> set[Aggregate]:
        """The aggregates whose events wait."""
        found = self._letters.find(self._open, dict.fromkeys(self.FIELDS, 1))
        return {self.sequence(letter) async for letter in found}

    async def marks(self) -> dict[str, set[Aggregate]]:
        """The documents that lack such events, each with the aggregates that they are of."""
        marks: dict[str, set[Aggregate]] = {}
        async for letter in self._letters.find(self._open, {"aggregate_type": 1, "aggregate_id": 1, "documents": 1}):
            for key in letter.get("documents", ()):
                marks.setdefault(key, set()).add(self.sequence(letter))
        return marks


class ParkedSequences(Parked[str]):
    """Those of a reaction, by the keys of its sequences."""

    FIELDS = ("sequence",)

    def sequence(self, letter: Mapping[str, Any]) -> str:
        found: str = letter["sequence"]
        return found

    def of_sequence(self, sequence: str) -> dict[str, Any]:
        return {"instance": self._instance, "sequence": sequence}

    async def first_states(self) -> dict[str, str]:
        """The sequences whose events wait, each with the state of its first letter."""
        found = self._letters.find(self._open, {"sequence": 1, "state": 1}).sort("position", -1)
        return {self.sequence(letter): letter["state"] async for letter in found}
