"""What the domain refuses. These classes know no HTTP; `command.edge` maps them to a status and a slug, in one table.

The class docstring is the message; facts are attributes.
"""

from typing import Any


class CommandRefused(Exception):
    """The command cannot be carried out."""

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        super().__init__((type(self).__doc__ or "").strip().format(**facts))


class NotFound(CommandRefused):
    """There is no such {what}."""


class NotAllowed(CommandRefused):
    """This is for somebody else to do."""


class RuleBroken(CommandRefused):
    """A rule of the business forbids this now."""


class InvalidCommand(CommandRefused):
    """The command makes no sense, now or ever."""


class ConcurrentUpdate(CommandRefused):
    """{aggregate} {id} was changed by somebody else at the same moment."""


class StaleVersion(CommandRefused):
    """It is at version {actual_version}, which If-Match does not name; nothing was done."""
