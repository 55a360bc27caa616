"""A whole stack as `readside up` starts it, except that the projectors reach each database through a `Proxy`."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from command.migrations import migrate
from readside.embedded.mongo import EmbeddedMongo
from readside.embedded.postgres import EmbeddedPostgres
from readside.embedded.start import start
from readside.ports import hold, port_of
from readside.processes import payment_simulator, program
from readside.readiness import wait_until_ready
from readside.run_file import Run, Running
from readside.supervisor import Child, Supervisor
from readside.together import together
from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.torture.proxy import Proxy

SECRET = "a secret for torture alone, 32 bytes or more"
HOST = "127.0.0.1"
_PORTS = ("command-api", "query-api", "projector", "projector-2")


class Stack:
    """Databases, processes and the network between them."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.settings = Settings(
            _env_file=None,  # type: ignore[call-arg]  # a developer's .env has no say
            data_dir=data_dir,
            jwt_secret=SecretStr(SECRET),
            currency="EUR",
            sign_ups_per_minute=10**6,
            tokens_per_minute=10**6,
            log_format="plain",
            log_level="warning",
        )
        self.tokens = Tokens(self.settings)
        self.tokens.lifetime_seconds = 30 * 86_400
        self._postgres, self._mongo = EmbeddedPostgres(data_dir), EmbeddedMongo(data_dir)
        self.postgres_url, self.mongo_url = self._postgres.url, self._mongo.url
        self.network = {"postgres": Proxy(self._to_postgres), "mongod": Proxy(self._to_mongo)}
        self._log = (data_dir / "torture.log").open("a", buffering=1)
        self._supervisor = Supervisor(log=self._write_log, on_start=lambda: None)
        self._children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self._gateway = ""

    def url(self, name: str) -> str:
        """Where a process of this name listens."""
        return f"http://{HOST}:{self._ports[name]}"

    def process(self, name: str) -> Running:
        """The process that runs under this name now, or did last."""
        return self._supervisor.running[name]

    @property
    def views(self) -> Settings:
        """Settings by which the views can be looked at, past every proxy."""
        return self.settings.model_copy(update={"mongo_url": self.mongo_url, "postgres_url": self.postgres_url})

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Stack"]:
        """Everything, for as long as the block; nothing of it is left afterwards."""
        async with AsyncExitStack() as stack:
            stack.callback(self._log.close)
            ports = stack.enter_context(ExitStack())
            # Held as `readside up` holds them: between two lives of a process its port must not become somebody's.
            for name in _PORTS:
                self._ports[name] = port_of(ports.enter_context(hold(HOST, 0, name)))
            listening = ports.enter_context(hold(HOST, 0, "payment-simulator"))
            listening.listen()
            self._gateway = f"http://{HOST}:{port_of(listening)}"
            for proxy in self.network.values():
                await stack.enter_async_context(proxy.listening())
            stack.callback(self._postgres.clear)
            stack.push_async_callback(self._supervisor.end)
            await start(self._supervisor, [self._postgres, self._mongo])
            await migrate(self.postgres_url)
            self._supervisor.begin_phase()
            self._start_payment_simulator(listening)
            self._supervisor.begin_phase()
            await together(*(self.start(name) for name in ("projector", "command-api", "query-api")))
            yield self

    def _start_payment_simulator(self, listening: socket.socket) -> None:
        told = payment_simulator(listening, self.settings, self._run())
        environment = _without_wishes(told.environment or {}) | self.settings.environment()
        self._supervisor.start(replace(told, environment=environment))

    async def start(self, name: str) -> None:
        """Start one process, and wait until it is ready."""
        is_projector = name.startswith("projector")
        run = self._run(is_projector=is_projector)
        told = program("projector" if is_projector else name, self._ports[name], self.settings, run)
        environment = _without_wishes(told.environment or {}) | self._environment(run, name)
        child = self._supervisor.start(replace(told, name=name, environment=environment))
        self._children[name] = child
        await child.until_ready(self.ready(name))

    def _run(self, *, is_projector: bool = False) -> Run:
        return Run(
            supervisor=Running.of(os.getpid()),
            postgres_url=f"postgresql://postgres@{HOST}:{self.network['postgres'].port}/readside"
            if is_projector
            else self.postgres_url,
            # Directly: the replica set would tell the driver where its member really is.
            mongo_url=f"mongodb://{HOST}:{self.network['mongod'].port}/?directConnection=true"
            if is_projector
            else self.mongo_url,
            host=HOST,
            command_port=self._ports["command-api"],
            query_port=self._ports["query-api"],
            projector_port=self._ports["projector"],
            payment_gateway_url=self._gateway,
        )

    async def end(self, name: str) -> None:
        """End one process politely, for good."""
        await self._children.pop(name).end()

    async def ready(self, name: str) -> None:
        """Return once this process says that it is ready."""
        await wait_until_ready(HOST, self._ports[name], lambda _reason: None)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process; one that has just died gets none."""
        if process := self.process(name).process():
            process.send_signal(number)

    def interrupt(self, name: str) -> None:
        """Ask a process to end; it finishes what it was asked before, and is started again."""
        self.signal(name, signal.SIGTERM)

    async def restarted(self, name: str, before: Running) -> None:
        """Return once another process than before runs under this name."""
        while self.process(name) == before:  # noqa: ASYNC110 - the supervisor tells nobody
            await asyncio.sleep(0.02)

    def _environment(self, run: Run, name: str) -> dict[str, str]:
        stores = {"mongo_url": run.mongo_url, "postgres_url": run.postgres_url}
        told = self.settings.model_copy(update={**stores, "payment_gateway_url": run.payment_gateway_url})
        environment = told.environment()
        if name == "query-api":
            environment["READSIDE_POSTGRES_URL"] = ""
        return environment

    async def _to_postgres(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        (folder,) = parse_qs(urlsplit(self.postgres_url).query)["host"]
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")

    async def _to_mongo(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.mongo_url)
        return await asyncio.open_connection(parts.hostname, parts.port)

    def _write_log(self, name: str, line: str) -> None:
        self._log.write(f"{name:<11} | {line}\n")


def _without_wishes(environment: Mapping[str, str]) -> dict[str, str]:
    # A developer's own READSIDE_… settings must not decide how this ends.
    return {name: value for name, value in environment.items() if not name.startswith("READSIDE_")}
