"""A RabbitMQ of the session's own: its own node, ports, files, and port mapper, all ended by id."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

_START_SECONDS = 60.0


def server_script() -> Path | None:
    """Debian's own start script drops to a user of its own; the one behind it runs as whoever calls it."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    return found[-1] if found and shutil.which("epmd") else None


class Rabbit:
    """One node; it keeps its port and its files over a restart."""

    def __init__(self, script: Path, folder: Path) -> None:
        self._script = script
        self._folder = folder
        self.port, self._mapper_port, self._distribution_port = _free_port(), _free_port(), _free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started and listening, until the block ends."""
        with ExitStack() as stack:
            # In the foreground, or the first node would leave a daemon behind that nobody ends.
            self._start(stack, ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"])
            server = self._start(stack, [str(self._script)])
            deadline = time.monotonic() + _START_SECONDS
            while not self._listens():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"RabbitMQ did not start; see {self._folder}")
                time.sleep(0.05)
            yield

    def _start(self, stack: ExitStack, argv: list[str]) -> "subprocess.Popen[bytes]":
        output = stack.enter_context((self._folder / f"{Path(argv[0]).name}.log").open("ab"))
        process = subprocess.Popen(argv, env=self._environment(), cwd=self._folder, stdout=output, stderr=output)
        stack.callback(_end, process)
        return process

    def _environment(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            **os.environ,
            "HOME": folder,
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"readside-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _listens(self) -> bool:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", self.port)):
                return False
            asking.sendall(b"AMQP\x00\x00\x09\x01")
            asking.settimeout(2)
            try:
                return bool(asking.recv(1))
            except OSError:
                return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        try:
            one.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(family, timeout=20)
    for one in alive:
        one.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
