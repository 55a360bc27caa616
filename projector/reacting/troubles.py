"""Why a reaction does not get on, as far as it is our own fault."""

import time

_PATIENCE_SECONDS = 1.0
"""Shorter than this, waiting for one's own stores is a lost race, and no trouble."""


class Troubles:
    """What is wrong now, by what it is about."""

    def __init__(self) -> None:
        self._since: dict[object, tuple[float, str]] = {}

    def note(self, about: object, text: str) -> None:
        """This is wrong, and may have been for a while."""
        since, _ = self._since.get(about, (time.monotonic(), ""))
        self._since[about] = since, text

    def over(self, about: object) -> None:
        """It is right again."""
        self._since.pop(about, None)

    def __str__(self) -> str:
        until = time.monotonic() - _PATIENCE_SECONDS
        return next((text for since, text in self._since.values() if since <= until), "")
