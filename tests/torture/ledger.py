"""What the clients were told: the only thing that the oracle believes."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Aggregate = tuple[str, str]
"""Its type and its id."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it was sent. ``outcomes`` are the events that it may cause, one line of them each.

    ``holds`` is what the payload of the first of these must hold: where that names the command, an effect that came
    twice shows.
    """

    method: str
    path: str
    body: Json
    kind: str
    outcomes: tuple[tuple[str, ...], ...]
    holds: Json
    aggregate_id: str | None = None
    """Whose event it is; none where the command makes a new one."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A command that was answered with success."""

    command: Command
    aggregate: Aggregate
    version: int
    """After the command."""
    answer: Json
    token: str


@dataclass(slots=True)
class Ledger:
    """All answers of a run."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    undecided: list[Command] = field(default_factory=list)
    """Sent, and never answered for certain: they may have had their effect, once."""
    wrong: list[str] = field(default_factory=list)
    """Answers that should never have been given."""
    answers: Counter[str] = field(default_factory=Counter)
    discarded: set[str] = field(default_factory=set)
    """Ids of events that an operator gave up, with the answer of success."""
    placed: int = 0
    """Orders that were acknowledged."""
    seen: list[Json] = field(default_factory=list)
    """The log, as somebody who followed it during the run has seen it."""

    def acknowledge(self, command: Command, answer: Json, token: str) -> Acknowledged:
        """This command was answered with success."""
        key = f"{command.kind}_id"
        aggregate = (command.kind, answer[key])
        done = Acknowledged(command, aggregate, answer["version"], answer, token)
        self.acknowledged.append(done)
        if command.path == "/orders":
            self.placed += 1
        return done
