"""``readside dead-letters``: events that a projection or a reaction could not handle.

A table on a terminal, plain lines elsewhere. Works on MongoDB alone; the running projector does what is asked for.
Exit status: 0; 1 where a retry failed again, or nobody has done what was asked for; 2 for a letter that does not exist,
or cannot be helped any more.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from projector.dead_letters import DeadLetters, Letter

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_PATIENCE_SECONDS = 15.0
_COLUMNS = ("id", "state", "aggregate_type", "aggregate_id", "event_type", "attempts", "last_failed_at", "error")


@app.callback()
def events_that_failed() -> None:
    """See, retry or discard events that a projection or a reaction could not handle."""


@app.command("list")
def list_letters(
    projection: Annotated[str | None, typer.Option(help="Only of this projection or reaction.")] = None,
    state: Annotated[
        str | None,
        typer.Option(help="failed, waiting, retry-requested, discard-requested or discarded."),
    ] = None,
    aggregate: Annotated[str | None, typer.Option(metavar="ID", help="Only of this aggregate.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """List dead letters in the order of the log; without --state all but the discarded."""
    from projector.dead_letters import STATES, Filter
    from runtime.errors import SettingsError

    known = next((one for one in STATES if one == state), None)
    if state is not None and known is None:
        raise SettingsError(f"--state {state}: there are only {', '.join(STATES)}")
    only = Filter(projection=projection, state=known, aggregate_id=aggregate)
    found = _run(lambda letters: letters.page(only, limit + 1))
    if sys.stdout.isatty():
        _table(found[:limit])
    else:
        for letter in found[:limit]:
            typer.echo("\t".join(_cell(letter, column) for column in _COLUMNS))
    if len(found) > limit:
        typer.echo(f"dead-letters: there are more than {limit}; see --limit.", err=True)


@app.command()
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show one with its payload, traceback and history."""
    import json

    letter = _run(lambda letters: letters.show(letter_id))
    for name, value in letter.items():
        if name not in ("payload", "traceback", "history") and value is not None:
            typer.echo(f"{name + ':':<17}{value}")
    typer.echo("payload:")
    typer.echo(_indented(json.dumps(letter["payload"], indent=2, ensure_ascii=False)))
    if letter["traceback"]:
        typer.echo("traceback:")
        typer.echo(_indented(letter["traceback"].rstrip()))
    typer.echo("history:")
    for entry in letter["history"]:
        why = entry.get("reason") or entry.get("error")
        typer.echo(f"  {entry['at']}  {entry['by']}  {entry['what']}" + (f": {why}" if why else ""))


@app.command()
def retry(
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID…]")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
) -> None:
    """Try letters again, those that wait for each other in order; the first that fails keeps the rest waiting."""
    from runtime.errors import SettingsError

    if bool(letter_ids) == every:
        raise SettingsError("give the ids of dead letters, or --all")

    async def work(letters: "DeadLetters") -> list["Letter"]:
        for letter_id in letter_ids or ():
            await letters.refuse_settled(letter_id)
        asked = await letters.ask_retry(letter_ids or None, _me())
        return [await letters.outcome(one, request, _PATIENCE_SECONDS) for one, request in asked.items()]

    _tell(_run(work))


@app.command()
def discard(
    letter_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
) -> None:
    """Give an event up in its projection, for good; what waited behind it is tried."""
    from runtime.errors import SettingsError

    if not reason.strip():
        raise SettingsError("--reason: say why")

    async def work(letters: "DeadLetters") -> list["Letter"]:
        await letters.refuse_settled(letter_id)
        asked = await letters.ask_discard(letter_id, _me(), reason.strip())
        return [await letters.outcome(letter_id, asked.get(letter_id, ""), _PATIENCE_SECONDS)]

    _tell(_run(work))


def _run(work: "Callable[[DeadLetters], Awaitable[T]]") -> T:
    import asyncio

    from pymongo.errors import PyMongoError

    from projector.dead_letters import DeadLetters
    from readside.errors import StartError
    from readside.settings import resolved_settings
    from runtime.mongo import mongo_database

    settings = resolved_settings(postgres=False)

    async def run() -> T:
        database = mongo_database(settings, "dead-letters")
        try:
            return await work(DeadLetters(database))
        finally:
            database.client.close()

    try:
        return asyncio.run(run())
    except PyMongoError as error:
        raise StartError(f"MongoDB did not play along ({type(error).__name__}); nothing else is known.") from None


def _tell(letters: Sequence["Letter"]) -> None:
    for letter in letters:
        why = f": {letter['error']}" if letter["state"] in ("failed", "waiting") else ""
        typer.echo(f"{letter['id']}  {letter['state']}{why}")
    states = [letter["state"] for letter in letters]
    if any(state.endswith("-requested") for state in states):
        typer.echo("dead-letters: no projector has done it yet; the next one that runs will.", err=True)
        raise typer.Exit(1)
    if {"failed", "waiting"} & set(states):
        raise typer.Exit(1)


def _me() -> str:
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user need not have a name
        import os

        return f"cli:{os.getuid()}"


def _table(letters: Sequence["Letter"]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column.replace("_", " "), no_wrap=column == "id", overflow="fold")
    for letter in letters:
        table.add_row(*(_cell(letter, column) for column in _COLUMNS))
    Console(highlight=False, markup=False).print(table)


def _cell(letter: dict[str, Any], column: str) -> str:
    return " ".join(str(letter[column]).split())


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
