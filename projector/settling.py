"""What becomes of the dead letters of one sequence at a retry or a discard, as writes of one transaction.

A sequence is what waits for each other: an aggregate's events in a view, the events of one key in a reaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import DeleteOne, UpdateMany, UpdateOne

from projector.dead_letters import OPEN, history_entry
from projector.failures import DeadLetter
from projector.folding import Settlement
from runtime.clock import now
from runtime.ids import new_id

Letter = dict[str, Any]


class Plan:
    """What to do with a sequence's letters, by their requests: discard, try, or leave."""

    def __init__(self, letters: Sequence[Letter], *, by_itself: bool, most: int) -> None:
        self.requests = [letter["request"] for letter in letters if "request" in letter]
        self.discarded = [letter for letter in letters if letter.get("request", {}).get("action") == "discard"]
        kept = [letter for letter in letters if letter not in self.discarded]
        asked = by_itself or any(request["action"] == "retry" for request in self.requests)
        # What waited behind a discarded letter has nothing more to wait for.
        moves_on = asked or letters[0] in self.discarded
        self.tried, self.untried = (kept[:most], kept[most:]) if moves_on else ([], kept)
        self.goes_on = moves_on and bool(self.untried)
        # Whoever asked first is told to have done what follows from it.
        self.by: str = self.requests[0]["by"] if self.requests else "projector"

    def leave_all(self) -> None:
        """Try none."""
        self.tried, self.untried, self.goes_on = [], [*self.tried, *self.untried], False


def settlement_of(of_sequence: Mapping[str, Any], plan: Plan, failed: Sequence[DeadLetter]) -> tuple[Settlement, int]:
    """What becomes of the letters, and how many are left. ``of_sequence`` is a query for all of them."""
    at = now()
    still = {letter.envelope.position: letter for letter in failed}
    settlement = Settlement(letters=[], history=[], marked=[], unmarked=[])
    if not plan.goes_on or still:
        # Also of those that were not come to: why they wait is answer enough.
        answered = sorted({request["id"] for request in plan.requests})
        query = {**of_sequence, "request.id": {"$in": answered}}
        settlement.letters.append(UpdateMany(query, {"$unset": {"request": ""}}))
    for letter in plan.discarded:
        _discard(settlement, letter, at)
    for letter in plan.tried:
        again = still.get(letter["position"])
        if again is None:
            settlement.letters.append(DeleteOne({"_id": letter["_id"]}))
            settlement.history.append(history_entry(letter, "succeeded", by=plan.by, at=at, resolved=letter))
        elif again.state == "failed":
            _failed_again(settlement, letter, again, plan.by, at)
        if again is not None:
            settlement.marked.extend(again.documents)
    if plan.goes_on and not still and "request" not in plan.untried[0]:
        # More than fits into one transaction, and all of it succeeded: the request goes on to the next.
        request = {"id": new_id(), "action": "retry", "by": plan.by, "at": at}
        plan.untried[0]["request"] = request
        settlement.letters.append(UpdateOne({"_id": plan.untried[0]["_id"]}, {"$set": {"request": request}}))
    return settlement, len(still) + len(plan.untried)


def _discard(settlement: Settlement, letter: Letter, at: datetime) -> None:
    request = letter["request"]
    discarded = {"state": "discarded", "discarded_by": request["by"], "discard_reason": request["reason"]}
    settlement.letters.append(
        UpdateOne({"_id": letter["_id"]}, {"$set": {**discarded, "discarded_at": at}, "$unset": {"request": ""}})
    )
    entry = history_entry(letter, "discarded", by=request["by"], at=at, reason=request["reason"])
    settlement.history.append(entry)


def _failed_again(settlement: Settlement, letter: Letter, again: DeadLetter, by: str, at: datetime) -> None:
    told = {
        "state": "failed",
        "error": again.error,
        "traceback": again.traceback,
        "documents": list(again.documents),
        "last_failed_at": at,
    }
    if letter["state"] not in OPEN[:1]:
        told["first_failed_at"] = at  # it has only waited until now
    settlement.letters.append(
        UpdateOne({"_id": letter["_id"]}, {"$set": told, "$inc": {"attempts": again.attempts, "retries": 1}})
    )
    settlement.history.append(history_entry(letter, "failed again", by=by, at=at, error=again.error))
