"""The commands that run one process each: the two APIs, the projector, the console, the payment simulator."""

import importlib
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from runtime.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on. [default: READSIDE_HOST, or 127.0.0.1]")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")]


def command_api(host: Host = None, port: Port = 8001) -> None:
    """Run the write side: takes commands, writes aggregates and events to Postgres."""
    _serve("command-api", "command.app", host, port, mongo=False)


def query_api(host: Host = None, port: Port = 8002) -> None:
    """Run the read side: serves the views from MongoDB, and knows no Postgres."""
    _serve("query-api", "query.app", host, port, postgres=False)


def projector(host: Host = None, port: Port = 8003) -> None:
    """Run the daemon: outbox to event log to views and reactions; its port serves health, metrics and operations."""

    def of_the_write_side(settings: "Settings") -> dict[str, Any]:
        from command.background import background
        from readside.reconciliation import Reconciliation

        return {"reconcile": Reconciliation(settings), "background": background}

    _serve("projector", "projector.app", host, port, more=of_the_write_side)


def console(host: Host = None, port: Port = 8004) -> None:
    """Run the web page: sales, orders, projections, dead letters, events. It asks the three APIs, and nothing else."""
    _serve("console", "console.app", host, port, postgres=False, mongo=False)


def payment_simulator(
    host: Host = None,
    port: Port = 8005,
    listening_socket: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a card gateway that moves no money: it approves, declines, is slow or fails as the card token says."""
    module = "command.payments.simulator"
    _serve("payment-simulator", module, host, port, postgres=False, mongo=False, listening_socket=listening_socket)


def _serve(
    process: str,
    module: str,
    host: str | None,
    port: int,
    *,
    postgres: bool = True,
    mongo: bool = True,
    listening_socket: int | None = None,
    more: "Callable[[Settings], dict[str, Any]]" = lambda _: {},
) -> None:
    import socket

    import structlog
    import uvloop

    from readside.ports import hold, port_of
    from readside.settings import resolved_settings
    from runtime.http import serve
    from runtime.logs import configure_logs
    from runtime.mongo import refuse_standalone
    from runtime.tracing import configure_traces, stop

    settings = resolved_settings(postgres=postgres, mongo=mongo)
    configure_traces(settings, process)
    configure_logs(settings, process=process)
    chosen = host or settings.host
    held = hold(chosen, port, "--port") if listening_socket is None else socket.socket(fileno=listening_socket)
    app = importlib.import_module(module).create_app(settings, **more(settings))
    structlog.get_logger().info("listening", url=f"http://{chosen}:{port_of(held)}")

    async def run() -> None:
        if mongo:
            await refuse_standalone(settings)
        await serve(app, held, data_dir=settings.data_dir)

    # uvicorn finishes what is running and then passes the signal on: having done as told is no failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        uvloop.run(run())
    except KeyboardInterrupt:
        return
    finally:
        stop()
