"""Dead letters as operators see them, and what they may ask: a retry, or a discard with a reason.

Asking writes a request to the letter and a line to its history, in one transaction; the projector that owns the
projection answers it (`projector.unparking`, `projector.reacting.repairs`), because only the owner may change documents
and call the outside. So everything here works from any process, and what was asked for while no projector runs is done
by the next one.

A letter is ``failed`` (the first of its aggregate, or of its sequence in a reaction) or ``waiting`` behind one. It
leaves by succeeding, which keeps it in its history alone, or stays for good as ``discarded``: that event is skipped by
the projection, also in a rebuild. Where it is a reaction's, ``projection`` is the reaction's name.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec
import pymongo
from motor.motor_asyncio import AsyncIOMotorClientSession

from runtime.clock import now, rfc3339
from runtime.errors import ReadsideError
from runtime.ids import new_id
from runtime.mongo import Database

DEAD_LETTERS, HISTORY = "dead_letters", "dead_letter_history"
OPEN = ("failed", "waiting")
"""States of a letter whose event has not taken effect and still may."""

State = Literal["failed", "waiting", "retry-requested", "discard-requested", "discarded"]
STATES: tuple[State, ...] = get_args(State)
REQUESTED = ("retry-requested", "discard-requested")

Letter = dict[str, Any]
_LOOK_AGAIN_SECONDS = 0.05


class NoSuchDeadLetter(ReadsideError):
    """There is no dead letter with this id, and there was none."""

    def __init__(self, letter: str) -> None:
        super().__init__(f"there is no dead letter {letter}")
        self.letter = letter


class DeadLetterSettled(ReadsideError):
    """The letter's event has taken effect since, or was discarded: nothing is left to be asked."""

    def __init__(self, letter: str, state: str) -> None:
        super().__init__(f"the dead letter {letter} is {state} already")
        self.letter, self.state = letter, state


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters; without a state, those whose event has not taken effect and still may."""

    projection: str | None = None
    state: State | None = None
    aggregate_id: str | None = None

    def terms(self) -> tuple[str | None, ...]:
        """What a cursor is bound to."""
        return (self.projection, self.state, self.aggregate_id)

    def query(self) -> dict[str, Any]:
        """As a query of MongoDB."""
        query: dict[str, Any] = {"state": {"$in": list(OPEN)}}
        if self.state in REQUESTED:
            query["request.action"] = self.state.partition("-")[0]
        elif self.state is not None:
            query |= {"state": self.state, "request": None}
        if self.projection is not None:
            query["projection"] = self.projection
        if self.aggregate_id is not None:
            query["aggregate_id"] = self.aggregate_id
        return query


def letter_id(instance: str, position: int) -> str:
    """Opaque to callers; fit for a URL and a shell as it is."""
    return f"{instance}.{position}"


class DeadLetters:
    """The dead letters of all projections and reactions."""

    def __init__(self, database: Database) -> None:
        self._client = database.client
        self._letters = database[DEAD_LETTERS]
        self._history = database[HISTORY]

    async def prepare(self) -> None:
        """Make the indexes, and with them the collections."""
        of_reactions, requested = {"sequence": {"$exists": True}}, {"request.at": {"$exists": True}}
        await self._letters.create_indexes(
            [
                pymongo.IndexModel([("instance", 1), ("aggregate_id", 1), ("position", 1)]),
                pymongo.IndexModel([("instance", 1), ("documents", 1)]),
                pymongo.IndexModel(
                    [("instance", 1), ("sequence", 1), ("position", 1)], partialFilterExpression=of_reactions
                ),
                pymongo.IndexModel([("position", 1), ("_id", 1)]),
                pymongo.IndexModel([("instance", 1), ("request.at", 1)], partialFilterExpression=requested),
            ]
        )
        await self._history.create_index([("letter", 1), ("_id", 1)])

    async def page(self, only: Filter, limit: int, after: tuple[int, str] | None = None) -> list[Letter]:
        """Letters in the order of the log, beginning after a position and an id."""
        query = only.query()
        if after is not None:
            position, last = after
            query["$or"] = [{"position": {"$gt": position}}, {"position": position, "_id": {"$gt": last}}]
        found = self._letters.find(query, {"traceback": 0, "payload": 0}).sort([("position", 1), ("_id", 1)])
        return [shown(letter) for letter in await found.limit(limit).to_list(None)]

    async def show(self, letter: str) -> Letter:
        """One letter with its payload, traceback and history, also one that has left. Raises `NoSuchDeadLetter`."""
        found, history = await self._whole(letter), self._history.find({"letter": letter}).sort("_id", 1)
        return {
            **shown(found),
            "sequence": found.get("sequence"),
            "payload": _decoded(found.get("payload", "")),
            "traceback": found["traceback"],
            "history": [_entry(one) async for one in history],
        }

    async def ask_retry(self, letters: Sequence[str] | None, by: str) -> dict[str, str]:
        """Ask for these (``None``: all) to be tried again; the ids of those that will be, with the request's.

        One whose discard is asked for stays as it is. A letter is tried together with those before and behind it.
        """
        wanted: dict[str, Any] = {"state": {"$in": list(OPEN)}, "request.action": {"$ne": "discard"}}
        if letters is not None:
            wanted["_id"] = {"$in": list(letters)}
        return await self._ask(wanted, {"action": "retry", "by": by})

    async def ask_discard(self, letter: str, by: str, reason: str) -> dict[str, str]:
        """Ask for this one to be skipped for good; empty where that is not possible any more."""
        wanted = {"state": {"$in": list(OPEN)}, "_id": letter}
        return await self._ask(wanted, {"action": "discard", "by": by, "reason": reason})

    async def refuse_settled(self, letter: str) -> None:
        """Raises `NoSuchDeadLetter` or `DeadLetterSettled` unless something can still be asked of this letter."""
        found = await self._whole(letter)
        if found["state"] not in OPEN:
            raise DeadLetterSettled(letter, found["state"])

    async def outcome(self, letter: str, request: str, within_seconds: float) -> Letter:
        """The letter once the request was answered, or as it stands after so long (then as ``…-requested``)."""
        until = time.monotonic() + within_seconds
        while True:
            found = await self._whole(letter)
            if found.get("request", {}).get("id") != request or time.monotonic() >= until:
                return shown(found)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _ask(self, wanted: dict[str, Any], request: dict[str, Any]) -> dict[str, str]:
        request |= {"id": new_id(), "at": now()}

        async def write(session: AsyncIOMotorClientSession) -> list[Letter]:
            fields = {"traceback": 0, "payload": 0, "documents": 0}
            found = await self._letters.find(wanted, fields, session=session).to_list(None)
            if found:
                ids = [letter["_id"] for letter in found]
                await self._letters.update_many({"_id": {"$in": ids}}, {"$set": {"request": request}}, session=session)
                entries = [history_entry(letter, request["action"], **_told(request)) for letter in found]
                await self._history.insert_many(entries, session=session)
            return found

        async with await self._client.start_session() as session:
            asked: list[Letter] = await session.with_transaction(write)
        return {letter["_id"]: request["id"] for letter in asked}

    async def _whole(self, letter: str) -> Letter:
        found = await self._letters.find_one({"_id": letter})
        if found is None:
            query = {"letter": letter, "resolved": {"$exists": True}}
            entry = await self._history.find_one(query, sort=[("_id", pymongo.DESCENDING)])
            if entry is None:
                raise NoSuchDeadLetter(letter)
            found = {**entry["resolved"], "state": "resolved"}
            found.pop("request", None)
        return found


def shown(letter: Mapping[str, Any]) -> Letter:
    """A letter as the contract has it."""
    request = letter.get("request")
    return {
        "id": letter["_id"],
        "projection": letter["projection"],
        "aggregate_type": letter["aggregate_type"],
        "aggregate_id": letter["aggregate_id"],
        "position": letter["position"],
        "event_type": letter["event_type"],
        "error": letter["error"],
        "attempts": letter["attempts"],
        "first_failed_at": rfc3339(letter["first_failed_at"]),
        "last_failed_at": rfc3339(letter["last_failed_at"]),
        "state": f"{request['action']}-requested" if request else letter["state"],
    }


def history_entry(letter: Mapping[str, Any], what: str, *, by: str, at: datetime, **more: Any) -> Letter:
    """One line of the audit trail: who, when, what, and why."""
    told = {"letter": letter["_id"], "projection": letter["projection"], "position": letter["position"]}
    return {"_id": new_id(), **told, "at": at, "by": by, "what": what, **more}


def _told(request: Mapping[str, Any]) -> dict[str, Any]:
    return {field: request[field] for field in ("by", "at", "reason") if field in request}


def _entry(entry: Mapping[str, Any]) -> Letter:
    told = {"at": rfc3339(entry["at"]), "by": entry["by"], "what": entry["what"]}
    return told | {field: entry[field] for field in ("reason", "error") if field in entry}


def _decoded(payload: str) -> Any:
    try:
        return msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload  # what is no JSON is shown as it is
