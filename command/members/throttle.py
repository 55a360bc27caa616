"""How often somebody may sign up, sign in, and be wrong about a password.

Failures are counted for the account, whichever addresses they come from, whether or not it exists. An account cannot
be locked by others: an address from which it was signed in to lately has failures of its own, so its owner does not
share the limit with whoever guesses; and what is refused does not count, so everybody may try again within a minute.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from fastapi import Request

from runtime.rate_limits import RateLimit, client_address
from runtime.settings import Settings

_MOST_KNOWN = 50_000
_MAILS_PER_MINUTE = 3


class Attempt:
    """A password that is being checked; a failure until `succeeded`."""

    def __init__(self) -> None:
        self.right = False

    def succeeded(self) -> None:
        """The password was right."""
        self.right = True


class Throttle:
    """The limits of one process."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = settings.proxy_networks
        self._sign_ups = RateLimit(settings.sign_ups_per_minute)
        self._tokens = RateLimit(settings.tokens_per_minute)
        self._failures = RateLimit(settings.password_failures_per_minute)
        self._mails = RateLimit(_MAILS_PER_MINUTE)
        self._known: dict[str, None] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def sign_up(self, request: Request) -> None:
        """Count a sign-up. Raises a `Problem` past the limit of its address."""
        self._sign_ups.hit(client_address(request, self._proxies))

    def sign_in(self, request: Request) -> None:
        """Count a sign-in. Raises a `Problem` past the limit of its address."""
        self._tokens.hit(client_address(request, self._proxies))

    def ask_for_mail(self, member_id: str) -> None:
        """Count a mail that a member asks for. Raises a `Problem` past their limit."""
        self._mails.hit(member_id)

    @asynccontextmanager
    async def password_check(self, request: Request, account: str) -> AsyncIterator[Attempt]:
        """Check a password within the block. Raises a `Problem` where the account saw too many wrong ones."""
        # Callers choose what stands here, and how long it is.
        account = hashlib.sha256(account.encode("utf-8", "replace")).hexdigest()
        here = f"{account} {client_address(request, self._proxies)}"
        key = here if here in self._known else account
        # One at a time: a hundred guesses at once would otherwise all be let in before the first of them had failed.
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            self._failures.check(key)
            attempt = Attempt()
            yield attempt
            if attempt.right:
                self._remember(here)
            else:
                self._failures.hit(key)

    def _remember(self, here: str) -> None:
        self._known.pop(here, None)
        if len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[here] = None


def throttle_of(request: Request) -> Throttle:
    """The process's `Throttle`."""
    found: Throttle = request.app.state.throttle
    return found
