"""The load on HTTP servers: so many connections, each asking again as soon as it has been answered.

Not with one of the tools that a fresh machine lacks, and not with an HTTP client of Python, of which any is slower than
what it is to measure: requests are made beforehand, one loop over epoll sends them, and an answer is read no further
than to its end. That takes some 15 µs per request, in a process of its own; a bare ASGI hello takes as much. So that
nobody has to take it on trust, every result says how busy the server's process was: near 1, and the server is what was
saturated.
"""

import json
import random
import select
import socket
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any

import psutil

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: whole answers a second, milliseconds, and the share of one core that the server took."""

    a_second: float
    p50_ms: float
    p99_ms: float
    server_busy: float


def load(port: int, pid: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Ask a server on this machine, from a process of its own. Raises where an answer is no success."""
    asked = {"port": port, "connections": connections, "seconds": seconds}
    text = json.dumps(asked | {"requests": [request.decode() for request in requests]})
    with subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(text)
        process.stdin.close()
        assert process.stdout.readline() == "warm\n", "the load ended early"
        server = psutil.Process(pid)
        used, started = _cpu_seconds(server), perf_counter()
        sleep(seconds)
        busy = (_cpu_seconds(server) - used) / (perf_counter() - started)
        found = json.loads(process.stdout.read())
    return Load(**found, server_busy=round(busy, 2))


def get(path: str, headers: dict[str, str] | None = None) -> bytes:
    """A request as it goes over the wire."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, body: Any, headers: dict[str, str]) -> bytes:
    """Likewise, with a body of JSON."""
    encoded = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(encoded)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + encoded


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class _Connection:
    __slots__ = ("asked_at", "missing", "received", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked_at, self.received, self.missing = 0.0, b"", 0

    def ask(self, request: bytes) -> None:
        self.asked_at = perf_counter()
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Read what is there; whether that was the end of the answer."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise ConnectionError("the server closed the connection")
        if self.missing:
            self.missing -= len(part)
            return self.missing == 0
        self.received = part if not self.received else self.received + part
        end = self.received.find(_HEAD_END)
        if end < 0:
            return False
        if self.received[9:10] != b"2":
            raise ValueError(self.received[:500])
        at = self.received.lower().index(_LENGTH, 0, end + 2) + len(_LENGTH)
        length = int(self.received[at : self.received.index(b"\r", at)])
        self.missing = length - (len(self.received) - end - len(_HEAD_END))
        self.received = b""
        return self.missing == 0


def _run(port: int, connections: int, seconds: float, requests: list[bytes]) -> dict[str, Any]:
    rng = random.Random(connections)  # noqa: S311  (repeatable load, no secret)
    opened = {one.socket.fileno(): one for one in (_Connection(port) for _ in range(connections))}
    waiting = select.epoll()
    for number, one in opened.items():
        waiting.register(number, select.EPOLLIN)
        one.ask(rng.choice(requests))
    latencies: list[float] = []
    count, warm_at = len(requests), perf_counter() + _WARM_UP_SECONDS
    began = 0.0
    while True:
        for number, _ in waiting.poll():
            one = opened[number]
            if one.answered():
                latencies.append(perf_counter() - one.asked_at)
                one.ask(requests[int(rng.random() * count)])
        now = perf_counter()
        if not began and now >= warm_at:
            latencies.clear()
            began = now
            print("warm", flush=True)  # noqa: T201  (this is how the two processes talk)
        elif began and now >= began + seconds:
            break
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "a_second": round(len(latencies) / (now - began), 1),
        "p50_ms": round(cuts[49] * 1000, 2),
        "p99_ms": round(cuts[98] * 1000, 2),
    }


if __name__ == "__main__":
    given = json.load(sys.stdin)
    given["requests"] = [request.encode() for request in given["requests"]]
    print(json.dumps(_run(**given)))  # noqa: T201
