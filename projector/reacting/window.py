"""Which events are finished, out of order: the low-water mark, and what is done above it. Pure.

The checkpoint must never pass an event that is not finished, and nothing that was finished is to be done twice. Both
come from here alone.
"""

from collections import deque

import msgspec


class Mark(msgspec.Struct, frozen=True):
    """Everything up to ``position`` is finished, and of what comes after it these positions are."""

    position: int
    done: tuple[int, ...] = ()


class Window:
    """The events from the oldest unfinished one on, as they were taken in; at most so many, or memory would grow."""

    def __init__(self, mark: Mark, most: int) -> None:
        self.looked_at = mark.position
        """The last position that was looked at."""
        self._most = most
        self._taken: deque[int] = deque()
        self._done = set(mark.done)

    @property
    def position(self) -> int:
        """Everything up to here is finished, or was nobody's business."""
        return self._taken[0] - 1 if self._taken else self.looked_at

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be taken in until the oldest is finished."""
        return len(self._taken) >= self._most

    @property
    def is_busy(self) -> bool:
        """Whether anything is unfinished."""
        return bool(self._taken)

    @property
    def mark(self) -> Mark:
        """What a checkpoint may say now."""
        return Mark(self.position, tuple(sorted(self._done)))

    def pass_over(self, position: int) -> None:
        """The next event is nobody's business."""
        self.looked_at = position

    def take(self, position: int) -> bool:
        """The next event is to be handled. False where it was, in an earlier life."""
        self.looked_at = position
        self._taken.append(position)
        if position in self._done:
            self._forget_finished()
            return False
        return True

    def finish(self, position: int) -> None:
        """Its effect is there, or a dead letter goes with the next checkpoint."""
        self._done.add(position)
        self._forget_finished()

    def _forget_finished(self) -> None:
        while self._taken and self._taken[0] in self._done:
            self._done.remove(self._taken.popleft())
