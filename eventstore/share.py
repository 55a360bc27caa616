"""Sharing the log out by aggregate: all events of one aggregate fall to the same share, wherever they stand.

A row is told by Postgres and an archived event by this process, so both have to know the same hash. `hash` and
``hashtext`` are known to one of them alone, and MD5 is refused where a server may use approved algorithms only.
"""

import hashlib

from events.values import Value


class Share(Value, frozen=True):
    """Share ``number`` (from 0) of ``of`` equal ones, at most 256."""

    number: int = 0
    of: int = 1

    def holds(self, aggregate_id: str) -> bool:
        """Whether this aggregate's events are in it."""
        return self.of == 1 or hashlib.sha256(aggregate_id.encode()).digest()[0] % self.of == self.number

    def condition(self) -> str:
        """The same in SQL, on a row's ``aggregate_id``."""
        # In the bytes that `holds` hashes, whatever the database's encoding is: an aggregate whose events fall to one
        # share in the log and to another in the archive would be folded by neither as a whole.
        first_byte = "get_byte(sha256(convert_to(aggregate_id, 'UTF8')), 0)"
        return f"{first_byte} % {self.of} = {self.number}"


EVERY = Share()
"""All of the log."""
