"""The command line. Modules that take long to import are imported by the commands that need them.

Exit status: 0; 1 where the machine did not play along; 2 for what cannot work as it was asked, with one line.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from readside import servers
from readside.commands import dead_letters, demo, events, importing, projections, reactions

app = typer.Typer(
    name="readside",
    help="An order service split in two: commands in Postgres, reads from MongoDB views.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Port = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")]


@app.command()
def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where everything is kept. [default: READSIDE_DATA_DIR, or .readside]")
    ] = None,
    command_port: Port = 8001,
    query_port: Port = 8002,
    projector_port: Port = 8003,
    console_port: Port = 8004,
    payment_simulator_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the simulated card gateway; 0 picks a free port.")
    ] = 0,
    demo: Annotated[bool, typer.Option("--demo", help="Load a small demo shop when the log is empty.")] = False,
) -> None:
    """Start everything: databases, migrations, both APIs, the projector, the console. Ctrl-C ends it, the data stays.

    Starts its own PostgreSQL and MongoDB, unless READSIDE_POSTGRES_URL and READSIDE_MONGO_URL are set, and simulates
    the card gateway, unless READSIDE_PAYMENT_GATEWAY_URL is.
    """
    import uvloop

    from readside.up import Ports
    from readside.up import up as run
    from runtime.settings import load_settings

    settings = load_settings()
    if data_dir is not None:
        settings = settings.model_copy(update={"data_dir": data_dir})
    ports = Ports(command_port, query_port, projector_port, console_port, payment_simulator_port)
    uvloop.run(run(settings, ports, demo=demo))


app.command("demo")(demo.demo)
app.command("command-api")(servers.command_api)
app.command("query-api")(servers.query_api)
app.command("projector")(servers.projector)
app.command("console")(servers.console)
app.command("payment-simulator")(servers.payment_simulator)


@app.command()
def migrate() -> None:
    """Bring the Postgres database to the newest schema. Safe to run twice, and while the service works."""
    import asyncio

    from command.migrations import migrate as run
    from readside.settings import resolved_settings

    url = resolved_settings(mongo=False).postgres_url
    assert url is not None
    asyncio.run(run(url))


@app.command()
def token(
    subject: Annotated[str, typer.Option(help="Whom the token speaks for: a member's id, or any name.")],
    scope: Annotated[list[str], typer.Option(help="customer, staff or operator; give it once for each.")],
    lifetime: Annotated[
        int | None, typer.Option(min=1, help="Seconds. [default: READSIDE_JWT_LIFETIME_SECONDS, or 3600]")
    ] = None,
) -> None:
    """Print a bearer token, and nothing else, on standard output."""
    from readside.token import make_token

    typer.echo(make_token(subject, scope, lifetime_seconds=lifetime))


# Further groups of commands, one line each: app.add_typer(module.app, name="…").
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(events.app, name="events")
app.add_typer(importing.app, name="import")
app.add_typer(projections.app, name="projections")
app.add_typer(reactions.app, name="reactions")


def main() -> NoReturn:
    """The entry point: what Readside refuses ends with one readable line and no traceback."""
    from readside.errors import StartError
    from runtime.errors import ReadsideError

    try:
        app()
    except StartError as error:
        if error.details:
            typer.echo(error.details, err=True)
        typer.echo(f"readside: {error}", err=True)
        sys.exit(1)
    except ReadsideError as error:
        typer.echo(f"readside: {error}", err=True)
        sys.exit(2)
    sys.exit(0)
