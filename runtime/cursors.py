"""Cursors: where a page ended, opaque to the caller, and of use to nobody but this service.

A cursor is signed with the deployment's id together with the list that it continues: its route and its filters. One
that somebody made up, changed, took from another deployment or from another list is refused. It names the last item
itself, not a count or an instance of the view: pages stay whole while items come and go, and while a view is rebuilt.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

_MAC_BYTES = 12


class UnknownCursor(ValueError):
    """This service did not make that cursor for this list."""


class Cursors:
    """Mints and reads the cursors of one list of one deployment."""

    def __init__(self, deployment_id: str, list_name: str, filters: Sequence[str | None]) -> None:
        self._key = deployment_id.encode()
        self._list = b"cursor:" + msgspec.json.encode([list_name, *filters]) + b"\n"

    def mint(self, *last: str) -> str:
        """The cursor that continues after the item with these keys."""
        body = msgspec.json.encode(last)
        return base64.urlsafe_b64encode(self._mac(body) + body).rstrip(b"=").decode()

    def read(self, cursor: str) -> tuple[str, ...]:
        """The keys of the last item. Raises `UnknownCursor`."""
        try:
            raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise UnknownCursor from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise UnknownCursor
        return msgspec.json.decode(body, type=tuple[str, ...])

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._key, self._list + body, hashlib.sha256).digest()[:_MAC_BYTES]
