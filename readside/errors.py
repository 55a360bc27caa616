"""What the front door refuses, beside wrong settings."""

from runtime.errors import ReadsideError


class StartError(ReadsideError):
    """Something that should run cannot be started. ``details`` are the last lines it wrote.

    Ends the command with status 1: the command was right, the machine did not play along.
    """

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.details = details


class NothingRunningError(ReadsideError):
    """A command that needs the stores finds neither their URLs nor a running `readside up`."""


class InUseError(ReadsideError):
    """A port or a data directory that somebody else holds."""
