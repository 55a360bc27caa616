"""Consistency tokens: reading one's own writes without clocks and without asking Postgres.

A token names the Postgres transaction that wrote a command. A view's checkpoint carries the transaction snapshot of
the moment up to which it is complete; the view includes the command exactly when that snapshot *sees* the
transaction. The deployment's random id is the key of the token's signature, so a token of another deployment, or one
that somebody changed, is recognised as unknown.

The tempting shortcut, "position at least P", is wrong: a command that commits late can get its position long after a
later command's; only a completed prefix includes it.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

_MAC_BYTES = 12


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A Postgres ``pg_snapshot``: which transactions had committed, or rolled back, at that moment."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """From ``xmin:xmax:xip,xip``."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))

    def sees(self, transaction_id: int) -> bool:
        """Whether that transaction had ended when this snapshot was taken."""
        if transaction_id < self.xmin:
            return True
        return transaction_id < self.xmax and transaction_id not in self.running


class ConsistencyTokens:
    """Mints and reads the tokens of one deployment."""

    def __init__(self, deployment_id: str) -> None:
        self._key = deployment_id.encode()

    def mint(self, transaction_id: int) -> str:
        """The opaque token of a committed command."""
        body = transaction_id.to_bytes(8, "big")
        return base64.urlsafe_b64encode(body + self._mac(body)).decode()

    def read(self, token: str) -> int | None:
        """The transaction id, or ``None`` for a token that this deployment did not mint."""
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, UnicodeEncodeError):
            return None
        body, mac = raw[:8], raw[8:]
        if len(body) != 8 or not hmac.compare_digest(mac, self._mac(body)):
            return None
        return int.from_bytes(body, "big")

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._key, b"consistency-token:" + body, hashlib.sha256).digest()[:_MAC_BYTES]
