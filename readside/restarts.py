"""How long to wait before a child that died is started again."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Waits 0.2 s, then twice as long each time up to 5 s; forgets its bad days once a child has lived 30 s."""

    shortest_seconds: float = 0.2
    longest_seconds: float = 5.0
    settled_after_seconds: float = 30.0
    _next_seconds: float = 0.0

    def delay_after(self, lived_seconds: float) -> float:
        """Seconds to wait, given how long the child lived that just died."""
        if lived_seconds >= self.settled_after_seconds or not self._next_seconds:
            self._next_seconds = self.shortest_seconds
        delay = self._next_seconds
        self._next_seconds = min(delay * 2, self.longest_seconds)
        return delay
