"""Who is signed in: tokens stay in this process, a browser holds nothing but an id that says nothing.

Bounded in number; what has expired goes first. A restart of the process signs everybody out.
"""

import secrets
from collections.abc import Callable
from time import time

import jwt
import msgspec

COOKIE = "readside_console"
MOST_SESSIONS = 2_000


class Session(msgspec.Struct):
    """A browser that is signed in. ``expires_at``: seconds since 1970."""

    key: str
    token: str = msgspec.field()
    subject: str
    name: str
    scopes: frozenset[str]
    expires_at: float
    over: bool = False

    def __repr__(self) -> str:
        return f"Session({self.subject!r})"  # never the token: this may stand in a log

    @property
    def is_valid(self) -> bool:
        """Whether it may still be used."""
        return not self.over and time() < self.expires_at

    def has(self, *any_of: str) -> bool:
        """Whether the token carries one of these scopes."""
        return not self.scopes.isdisjoint(any_of)


class Sessions:
    """Every session of this process; ``ended`` is told of each that is over."""

    def __init__(self, ended: Callable[[Session], None] = lambda _: None) -> None:
        self._by_key: dict[str, Session] = {}
        self._ended = ended

    def __len__(self) -> int:
        return len(self._by_key)

    def begin(self, token: str) -> Session:
        """A session of a token that an API has accepted. Raises `ValueError` where it is no JWT."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            raise ValueError("not a token") from None
        scope = claims.get("scope", "")
        subject = str(claims.get("sub", ""))
        name = claims.get("name")
        session = Session(
            key=secrets.token_urlsafe(32),
            token=token,
            subject=subject,
            name=name if isinstance(name, str) and name else subject,
            scopes=frozenset(scope.split()) if isinstance(scope, str) else frozenset(),
            expires_at=float(claims.get("exp", 0)),
        )
        self._make_room()
        self._by_key[session.key] = session
        return session

    def find(self, key: str | None) -> Session | None:
        """The session of a cookie, also one that has just expired."""
        return self._by_key.get(key or "")

    def end(self, session: Session) -> None:
        """Forget it, and its token."""
        self._by_key.pop(session.key, None)
        if not session.over:
            session.over = True
            session.token = ""
            self._ended(session)

    def _make_room(self) -> None:
        for session in [one for one in self._by_key.values() if not one.is_valid]:
            self.end(session)
        while len(self._by_key) >= MOST_SESSIONS:
            self.end(next(iter(self._by_key.values())))
