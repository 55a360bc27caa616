"""``readside up``: the whole shop in one foreground process.

Guarantees: what ends it (Ctrl-C, SIGTERM, SIGHUP) ends everything that it started, requests first, databases last,
and leaves nothing behind but data. What it started and what dies is started again. Nothing is started where a port
is taken or the data directory is in use.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import msgspec
from pydantic import SecretStr

from readside import run_file
from readside.banner import banner
from readside.data_dir import held
from readside.embedded import start as embedded
from readside.embedded.mongo import EmbeddedMongo
from readside.embedded.orphans import end_orphans
from readside.embedded.postgres import EmbeddedPostgres
from readside.log import PrefixedLog
from readside.ports import hold, port_of
from readside.processes import payment_simulator, program
from readside.readiness import wait_until_ready
from readside.run_file import Run, Running
from readside.supervisor import Child, Supervisor
from readside.together import together
from runtime.errors import SettingsError
from runtime.settings import Settings

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the processes shall listen; 0 stands for any free port."""

    command_api: int
    query_api: int
    projector: int
    console: int
    payment_simulator: int


async def up(settings: Settings, ports: Ports, *, demo: bool) -> None:
    """Run until a signal. Raises `ReadsideError` where something cannot be started."""
    data_dir = settings.data_dir.absolute()
    with held(data_dir):
        log = PrefixedLog()
        if orphans := await end_orphans(data_dir):
            log("up", f"ended what a killed run had left: {', '.join(orphans)}")
        # Held as long as this runs: between two lives of a child its port must not become somebody's.
        with ExitStack() as held_ports:
            listening = None if settings.payment_gateway_url else _listening(ports.payment_simulator, held_ports)
            ports = _held(ports, settings.host, held_ports)
            up = Up(settings.model_copy(update={"data_dir": data_dir}), ports, log, payment_simulator=listening)
            await up.run(demo=demo)


class Up:
    """One run of everything."""

    def __init__(
        self, settings: Settings, ports: Ports, log: PrefixedLog, *, payment_simulator: socket.socket | None
    ) -> None:
        self._data_dir: Path = settings.data_dir
        self._postgres = None if settings.postgres_url else EmbeddedPostgres(self._data_dir)
        self._mongo = None if settings.mongo_url else EmbeddedMongo(self._data_dir)
        self._settings = _with_secret(settings)
        self._log = log
        self._supervisor = Supervisor(log, on_start=self._write_run_file)
        self._simulator_socket = payment_simulator
        self._run = Run(
            supervisor=Running.of(os.getpid()),
            postgres_url=self._postgres.url if self._postgres else settings.postgres_url or "",
            mongo_url=self._mongo.url if self._mongo else settings.mongo_url or "",
            host=settings.host,
            command_port=ports.command_api,
            query_port=ports.query_api,
            projector_port=ports.projector,
            console_port=ports.console,
            payment_gateway_url=_url(payment_simulator) if payment_simulator else settings.payment_gateway_url,
        )

    async def run(self, *, demo: bool) -> None:
        """Start everything, stay until a signal, end everything."""
        self._run = msgspec.structs.replace(self._run, demo=demo)
        stop = self._stop_on_signals()
        starting = asyncio.create_task(self._start(demo=demo))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopping
            self._log("up", "ending everything; Ctrl-C once more kills")
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            await self._end()

    async def _start(self, *, demo: bool) -> None:
        databases = [database for database in (self._postgres, self._mongo) if database]
        _, migrations = await together(
            embedded.start(self._supervisor, databases),
            asyncio.to_thread(import_module, "command.migrations"),  # takes as long as the databases do
        )
        await self._migrate(migrations.migrate)
        before_the_projector = self._supervisor.begin_phase()
        await self._start_processes()
        self._start_payment_simulator(before_the_projector)
        # Not waited for: its front end takes longer to import than everything else to start.
        self._supervisor.start(program("console", self._run.console_port or 0, self._settings, self._run))
        names = [name for name, one in (("postgres", self._postgres), ("mongod", self._mongo)) if one]
        simulates = self._simulator_socket is not None
        shown = banner(self._run, self._data_dir, names, simulates_payments=simulates)
        print(shown, flush=True)  # noqa: T201 - the command's product
        if demo:
            await self._load_demo()

    async def _migrate(self, migrate: Callable[[str], Awaitable[None]]) -> None:
        try:
            await migrate(self._run.postgres_url)
        except OSError as error:
            raise SettingsError(f"READSIDE_POSTGRES_URL: the server does not answer ({error})") from None

    async def _start_processes(self) -> None:
        self._supervisor.begin_phase()
        projector = self._start_process("projector", self._run.projector_port)
        self._supervisor.begin_phase()
        apis = [
            self._start_process("command-api", self._run.command_port),
            self._start_process("query-api", self._run.query_port),
        ]
        await together(projector, *apis)

    def _start_payment_simulator(self, phase: list[Child]) -> None:
        """Last, so that nobody waits for it but who pays; and as if first, so that it is there until the projector,
        which may just be asking it, has ended."""
        if self._simulator_socket is not None:
            self._supervisor.start(payment_simulator(self._simulator_socket, self._settings, self._run), phase)

    def _start_process(self, name: str, port: int) -> Awaitable[None]:
        child = self._supervisor.start(program(name, port, self._settings, self._run))
        ready = wait_until_ready(self._run.host, port, lambda reason: self._log(name, reason))
        return child.until_ready(ready)

    async def _load_demo(self) -> None:
        from readside.demo import load_demo

        update = {"postgres_url": self._run.postgres_url, "mongo_url": self._run.mongo_url}
        try:
            orders = await load_demo(self._settings.model_copy(update=update))
        except Exception as error:  # a shop without demo data is still a shop
            self._log("up", f"the demo data could not be loaded: {error!r}")
        else:
            self._log(
                "up",
                f"demo data: {orders} orders loaded" if orders else "there are orders: no demo data loaded",
            )

    def _stop_on_signals(self) -> asyncio.Event:
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                self._supervisor.kill()
            stop.set()

        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        return stop

    async def _end(self) -> None:
        await self._supervisor.end()
        if self._postgres:
            self._postgres.clear()
        run_file.remove(self._data_dir)

    def _write_run_file(self) -> None:
        run_file.write(self._data_dir, _with_children(self._run, self._supervisor))


def _with_children(run: Run, supervisor: Supervisor) -> Run:
    return msgspec.structs.replace(run, children=supervisor.running)


def _listening(port: int, stack: ExitStack) -> socket.socket:
    # On this machine alone, whatever READSIDE_HOST says: it asks for no token.
    listening = stack.enter_context(hold("127.0.0.1", port, "--payment-simulator-port"))
    listening.listen()
    return listening


def _url(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{port_of(listening)}"


def _held(ports: Ports, host: str, stack: ExitStack) -> Ports:
    def held(port: int, option: str) -> int:
        return port_of(stack.enter_context(hold(host, port, option)))

    return Ports(
        command_api=held(ports.command_api, "--command-port"),
        query_api=held(ports.query_api, "--query-port"),
        projector=held(ports.projector, "--projector-port"),
        console=held(ports.console, "--console-port"),
        payment_simulator=ports.payment_simulator,
    )


def _with_secret(settings: Settings) -> Settings:
    if settings.jwt_secret is not None or settings.jwt_jwks is not None:
        return settings
    from runtime.tokens import secret_of

    secret = secret_of(settings.data_dir, create=True)
    return settings.model_copy(update={"jwt_secret": SecretStr(secret)}) if secret else settings
