"""Rate limits without waiting, and who it is that they count."""

from ipaddress import ip_network

import pytest
from starlette.requests import Request

from runtime.problems import Problem
from runtime.rate_limits import RateLimit, client_address

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def request(peer: str | None, *forwarded: str) -> Request:
    """From this peer, with these ``X-Forwarded-For``."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return Request({"type": "http", "headers": headers, "client": (peer, 1) if peer is not None else None})


def test_any_sixty_seconds_hold_at_most_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    monkeypatch.setattr("runtime.rate_limits.time", lambda: clock[0])
    limit = RateLimit(2)
    limit.hit("a")
    clock[0] += 50
    limit.hit("a")
    limit.hit("b")

    with pytest.raises(Problem) as refused:
        limit.hit("a")
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "10"})
    clock[0] += 10.1
    limit.hit("a")
    with pytest.raises(Problem):
        limit.check("a")


def test_keys_that_count_nothing_any_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.rate_limits._KEYS_BEFORE_PRUNING", 100)
    limit = RateLimit(1)
    limit.hit("one that counts")
    limit._storage.events |= {f"old {number}": [] for number in range(200)}

    limit.hit("another")

    assert sorted(key.split("/")[1] for key in limit._storage.events) == ["another", "one that counts"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.7",), "192.0.2.1"),  # anybody can write one
        ("10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("10.0.0.1", ("203.0.113.9, 198.51.100.7, 10.0.0.2",), "198.51.100.7"),  # the first was the client's own idea
        ("10.0.0.1", ("203.0.113.9", "198.51.100.7"), "198.51.100.7"),
        ("10.0.0.1", ("198.51.100.7, nonsense",), "10.0.0.1"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("::ffff:10.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", (), "192.0.2.1"),
        ("fe80::1%eth0", (), "fe80::/64"),
        ("testclient", (), "unknown"),
        (None, (), "unknown"),
    ],
)
def test_the_client_is_the_peer_or_whom_a_trusted_proxy_names(
    peer: str | None, forwarded: tuple[str, ...], expected: str
) -> None:
    assert client_address(request(peer, *forwarded), PROXIES) == expected
