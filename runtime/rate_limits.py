"""Rate limits: so many a minute for each key, 429 with ``Retry-After`` past that.

The window moves: any sixty seconds hold at most the limit, not only those between two full minutes. Each process
counts for itself, in memory, so that a limit costs no round trip; a restart forgets.
"""

import math
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from time import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request

from runtime.problems import Problem

_KEYS_BEFORE_PRUNING = 10_000


class RateLimit:
    """One limit, counted apart for every key."""

    def __init__(self, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._storage = MemoryStorage()
        self._windows = MovingWindowRateLimiter(self._storage)
        self._prune_at = _KEYS_BEFORE_PRUNING

    def hit(self, key: str) -> None:
        """Count one. Raises a `Problem` where there were too many; what is refused does not count."""
        self._prune()
        if not self._windows.hit(self._item, key):
            raise self._too_many(key)

    def check(self, key: str) -> None:
        """Raises a `Problem` where one more would be too many; counts nothing."""
        if not self._windows.test(self._item, key):
            raise self._too_many(key)

    def _too_many(self, key: str) -> Problem:
        wait = self._windows.get_window_stats(self._item, key).reset_time - time()
        return Problem(
            429,
            "too-many-requests",
            "Too many of these within a minute.",
            headers={"Retry-After": str(min(60, max(1, math.ceil(wait))))},
        )

    def _prune(self) -> None:
        # The library forgets what it counted, but not the keys; and keys are what callers choose.
        if len(self._storage.events) < self._prune_at:
            return
        for key in [key for key, counted in list(self._storage.events.items()) if not counted]:
            self._storage.events.pop(key, None)
        self._prune_at = max(_KEYS_BEFORE_PRUNING, 2 * len(self._storage.events))


def client_address(request: Request, trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()) -> str:
    """Where a request comes from: the socket's peer, as anybody can write an ``X-Forwarded-For``.

    Behind proxies that the settings name, the nearest address that is not one of them. Of IPv6 the network of 64
    bits, as one subscriber has all of it.
    """
    address = request.client.host if request.client is not None else ""
    if _is_one_of(address, trusted_proxies):
        forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        for hop in (hop.strip() for hop in reversed(forwarded)):
            if not _is_address(hop):
                break
            address = hop
            if not _is_one_of(hop, trusted_proxies):
                break
    if not _is_address(address):
        return "unknown"
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_one_of(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    if not networks or not _is_address(address):
        return False
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
