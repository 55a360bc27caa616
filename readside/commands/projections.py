"""``readside projections``: where they stand, building one afresh while the old one is served, and verifying them."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # the drivers take long to import, and `readside --help` does not need them
    from projector.registry import Entry
    from runtime.mongo import Database

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A projection, such as order_detail.")]


@app.callback()
def projections() -> None:
    """See where projections stand; rebuild or verify one while it is served."""


@app.command()
def status() -> None:
    """One line for each instance: state, health (idle, behind, stuck, stopped), position, head, lag, parked."""
    _run(_status)


@app.command()
def rebuild(
    name: Name,
    keep_old: Annotated[bool, typer.Option(help="Keep the old view for `rollback`, until `forget`.")] = False,
    wait: Annotated[bool, typer.Option(help="Follow the progress to the switch.")] = True,
) -> None:
    """Build a view afresh from the first event on; the old one goes on being served until the new one is current."""
    _run(lambda database: _rebuild(database, name, keep_old=keep_old, wait=wait))


@app.command()
def rollback(name: Name) -> None:
    """Serve the previous view again, in one step."""

    async def run(database: "Database") -> None:
        from projector.registry import Registry

        entry = await Registry(database).rollback(name)
        typer.echo(f"{name} is served from {entry.active} again.")

    _run(run)


@app.command()
def forget(name: Name) -> None:
    """Let the previous view of a rebuild go."""

    async def run(database: "Database") -> None:
        from projector.fleet import drop
        from projector.registry import Registry

        entry = await Registry(database).entry(name)
        if entry.previous is None:
            typer.echo(f"No previous view of {name} is kept.")
            return
        await Registry(database).forget_previous(entry)
        await asyncio.sleep(1)  # every projector looks at the registry twice a second, and stops writing to it
        await drop(database, entry.previous)
        typer.echo(f"{entry.previous} is gone.")

    _run(run)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A projection; all without it.")] = None,
    heal: Annotated[bool, typer.Option("--heal", help="Make what differs what the log makes of it.")] = False,
) -> None:
    """Fold the log afresh, compare every document and every statistic, and print what differs.

    Exit status: 0 where nothing differs (with --heal: any more), 1 where something does, 2 where it cannot be told.
    """
    import uvloop
    from pymongo.errors import PyMongoError

    from readside.errors import StartError
    from readside.settings import resolved_settings
    from readside.verifying import verify as run
    from runtime.postgres import DRIVER_ERRORS

    try:
        status = uvloop.run(run(resolved_settings(), name, heal=heal))
    except (PyMongoError, *DRIVER_ERRORS) as error:
        raise StartError(f"a database did not play along ({type(error).__name__}); verify it again.") from None
    raise typer.Exit(status)


async def _status(database: "Database") -> None:
    from readside.projection_status import status_lines

    for line in await status_lines(database):
        typer.echo(line)


async def _rebuild(database: "Database", name: str, *, keep_old: bool, wait: bool) -> None:
    from projector.registry import Registry

    registry = Registry(database)
    entry = await registry.request_rebuild(name, keep_old=keep_old)
    typer.echo(f"building {entry.building}; {entry.active} is served meanwhile.", err=True)
    if wait:
        await _follow(database, registry, entry)


async def _follow(database: "Database", registry: Any, entry: "Entry") -> None:
    from readside.rebuild_progress import follow

    await follow(database, str(entry.building), lambda: _is_switched(registry, entry))
    done = await registry.entry(entry.view)
    compared = done.comparison or {}
    typer.echo(
        f"{entry.view} is served from {done.active}: {compared.get('documents', 0):,} documents,"
        f" {compared.get('different', 0):,} differ from the old view."
    )
    for key in compared.get("examples", []):
        typer.echo(f"  differs: {key}")


async def _is_switched(registry: Any, entry: "Entry") -> bool:
    now: Entry = await registry.entry(entry.view)
    return now.building != entry.building


def _run(work: Any) -> None:
    from readside.settings import resolved_settings
    from runtime.mongo import mongo_database

    async def run() -> None:
        database = mongo_database(resolved_settings(postgres=False), "cli")
        try:
            await work(database)
        finally:
            database.client.close()

    coroutine: Coroutine[Any, Any, None] = run()
    asyncio.run(coroutine)
