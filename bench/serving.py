"""HTTP servers of a benchmark: each a process of its own, with one worker and the settings of the product's.

``python -m bench.serving KIND PORT`` is such a process, for what is not the product.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError

_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers."""

    name: str
    port: int
    pid: int


@contextmanager
def serving(name: str, argv: Sequence[str], environment: Mapping[str, str], ready: str) -> Iterator[Served]:
    """The process, from when it answers ``ready`` with 200; ``{port}`` in ``argv`` is where it is to listen."""
    port = _free_port()
    command = [sys.executable, *(part.format(port=port) for part in argv)]
    # Its log goes where a log goes, and is not looked at.
    everything = {**os.environ, **environment}
    with subprocess.Popen(command, env=everything, stderr=subprocess.DEVNULL) as process:  # noqa: S603  (our own code)
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}{ready}")
            yield Served(name, port, process.pid)
        finally:
            process.terminate()


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with status {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  (our own server)
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(url)


def _free_port() -> int:
    with socket.socket() as looking:
        looking.bind(("127.0.0.1", 0))
        port: int = looking.getsockname()[1]
        return port


def _application(kind: str) -> Any:
    from bench import hello, without_views
    from runtime.settings import Settings

    if kind == "bare":
        return hello.Bare()
    if kind == "fastapi":
        return hello.fastapi()
    settings = Settings()
    assert settings.postgres_url is not None
    if kind == "without-outbox":
        return _without_outbox(settings)
    return without_views.create_app(kind, settings.postgres_url, settings)


def _without_outbox(settings: Any) -> Any:
    """The command API, whose commands tell nobody anything."""
    from command import unit_of_work
    from command.app import create_app
    from runtime.logs import configure_logs

    configure_logs(settings, "command-api")

    async def append_nothing(*_: object, **__: object) -> int:
        return 1

    unit_of_work.append = append_nothing  # type: ignore[attr-defined]  # imported there, to be used there
    return create_app(settings)


def _main(kind: str, port: int) -> None:
    import uvloop

    from runtime.http import serve

    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.listen(2048)
    uvloop.run(serve(_application(kind), bound))


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _main(sys.argv[1], int(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(0)
