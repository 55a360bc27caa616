"""Why a reaction does not get on, as far as it is our own fault."""

import asyncio
import time

from projector.failures import FailurePolicy, Retry
from projector.reacting import metrics

_PATIENCE_SECONDS = 1.0
"""Shorter than this, waiting for one's own stores is a lost race, and no trouble."""


class Troubles:
    """What is wrong with one reaction now, by what it is about."""

    def __init__(self, reaction: str) -> None:
        self._reaction = reaction
        self._since: dict[object, tuple[float, str]] = {}

    def note(self, about: object, text: str) -> None:
        """This is wrong, and may have been for a while."""
        since, _ = self._since.get(about, (time.monotonic(), ""))
        self._since[about] = since, text

    def over(self, about: object) -> None:
        """It is right again."""
        self._since.pop(about, None)

    async def wait_out(self, about: object, policy: FailurePolicy, error: Exception) -> None:
        """Wait before one of our own stores is asked again. Raises the error where it is none of those: a bug, or the
        word of another owner."""
        decision = policy.batch_failed(error)
        if not isinstance(decision, Retry):
            raise error
        metrics.RETRIES.labels(self._reaction, decision.reason).inc()
        self.note(about, f"{decision.reason}: {type(error).__name__}")
        await asyncio.sleep(decision.after_seconds)

    def __str__(self) -> str:
        until = time.monotonic() - _PATIENCE_SECONDS
        return next((text for since, text in self._since.values() if since <= until), "")
