"""The heartbeat: what the query API has to know of the log, written every second into ``registry`` as ``$log``.

The deployment's id, the head, and recent heads with their times, from which follows how long a view has been behind;
and the times of the beat itself and of the sequencer's last run, so that a projector that is dead, or cut off from
Postgres, never looks like an idle one.
"""

from collections import deque
from datetime import UTC, datetime
from typing import Any

from projector.registry import REGISTRY
from runtime.mongo import Database
from runtime.settings import Settings

_SAMPLES = 32


class Heartbeat:
    """Beats for one process; several write the same."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._documents = database[REGISTRY]
        self._settings = settings
        self._samples: deque[tuple[int, datetime]] = deque(maxlen=_SAMPLES)

    async def beat(self, deployment_id: str, head: int, sequenced_at: datetime) -> None:
        """Say that a projector works, where the log ends, and when that was last looked at."""
        now = datetime.now(UTC)
        if not self._samples or self._samples[-1][0] != head:
            self._samples.append((head, now))
        log: dict[str, Any] = {
            "deployment_id": deployment_id,
            "currency": self._settings.currency,
            "time_zone": self._settings.time_zone,
            "head": head,
            "samples": [list(sample) for sample in self._samples],
            "heartbeat_at": now,
        }
        # Of several projectors it takes one that can look.
        update = {"$set": log, "$max": {"sequenced_at": sequenced_at}}
        await self._documents.update_one({"_id": "$log"}, update, upsert=True)
