"""What the pages of this process share: the APIs, the streams, who is signed in, and what was measured."""

import asyncio
from collections import OrderedDict, deque
from time import monotonic, time
from typing import Any

from console.apis import Apis
from console.feeds import Feeds
from console.sessions import Session, Sessions
from runtime.settings import Settings

SAMPLES = 300
"""Of one instance, a second apart: the last five minutes."""
_SAMPLE_SECONDS = 0.9
_MOST_MEASURED = 20_000

Item = dict[str, Any]
Sample = tuple[float, int, float]


class Desk:
    """One per process."""

    def __init__(self, settings: Settings) -> None:
        self.zone = settings.zone
        self.apis = Apis(settings)
        self.feeds = Feeds(self.apis)
        self.sessions = Sessions(self.feeds.end_of)
        self.flashes: dict[str, str] = {}
        self.samples: dict[str, deque[Sample]] = {}
        """Time, position and lag in seconds of each instance, while anybody looked."""
        self.building: dict[str, deque[Sample]] = {}
        """Likewise of instances that are being built, by their progress: in the bulk part they have no checkpoint."""
        self._measured: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._looked: tuple[float, list[Item]] = (0.0, [])
        self._looking = asyncio.Lock()

    async def close(self) -> None:
        """Close every stream and connection."""
        await self.feeds.close()
        await self.apis.close()

    def flash(self, session: Session, told: str) -> None:
        """A sentence for the next page of this session."""
        self.flashes[session.key] = told

    def measure(self, order_id: str, version: int, seconds: float) -> None:
        """How long after its recording this change of an order was here."""
        self._measured.setdefault((order_id, version), seconds)
        if len(self._measured) > _MOST_MEASURED:
            self._measured.popitem(last=False)

    def measured(self, order_id: str, version: int) -> float | None:
        """In seconds, where this process was watching."""
        return self._measured.get((order_id, version))

    async def projections(self, session: Session) -> list[Item]:
        """Where they stand, at most a second old for everybody who may ask. Keeps a sample for the charts.

        Raises as `Apis.get` does.
        """
        async with self._looking:
            at, items = self._looked
            if monotonic() - at < _SAMPLE_SECONDS:
                return items
            found: list[Item] = (await self.apis.get(session, "query", "/projections"))["items"]
            items = found
            self._looked = (monotonic(), items)
            for item in items:
                sample = (time(), item["position"], item["lag_seconds"])
                self.samples.setdefault(label_of(item), deque(maxlen=SAMPLES)).append(sample)
            return items


def label_of(item: Item) -> str:
    """The projection, with its role where that is not the one that is served."""
    return str(item["name"]) if item["state"] == "active" else f"{item['name']} ({item['state']})"


def rates(samples: "deque[Sample]", over_seconds: float = 5.0) -> list[tuple[float, float]]:
    """Events a second at each sample but the first: over the samples of the last seconds."""
    found: list[tuple[float, float]] = []
    window: deque[Sample] = deque()
    for sample in samples:
        window.append(sample)
        while len(window) > 2 and sample[0] - window[0][0] > over_seconds:
            window.popleft()
        elapsed = sample[0] - window[0][0]
        if elapsed > 0:
            found.append((sample[0], max(0.0, (sample[1] - window[0][1]) / elapsed)))
    return found
