"""``readside events``: watch the log, move old parts of it into archive files, bring them back.

Exit status: 0; 1 where a database or a file did not play along; 2 for what cannot be done as it was asked, with
nothing done. Ctrl-C is safe at every moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # Arrow and the drivers take long to import, and `readside --help` does not need them
    from eventstore.archives import Segment
    from eventstore.archiving import Archiving

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

INTERRUPTED = 130


@app.callback()
def events() -> None:
    """Watch the event log; move old parts of it into files, and back."""


@app.command()
def archive(
    before: Annotated[
        str,
        typer.Option(
            metavar="POSITION|DATE",
            help="Only events before this position, or recorded before this date (UTC) or RFC 3339 time.",
        ),
    ],
) -> None:
    """Move whole partitions of the log (a million events each) into Parquet files under READSIDE_ARCHIVE_DIR.

    Everybody goes on reading one log. The partition of the newest events always stays, and so does what a projection
    has still to read.
    """
    limit = position_or_moment(before)

    async def work(archiving: "Archiving", passed: dict[str, int]) -> Sequence["Segment"]:
        return await archiving.archive(await archiving.candidates(limit, passed))

    _tell("archived", _run(work))


@app.command()
def restore(
    after: Annotated[
        int, typer.Option(metavar="POSITION", min=0, help="Only files with events after this position.")
    ] = 0,
) -> None:
    """Bring archived events back into the database, the newest first. The files stay."""

    async def work(archiving: "Archiving", _: dict[str, int]) -> Sequence["Segment"]:
        return await archiving.restore(after)

    _tell("restored", _run(work))


@app.command()
def tail(
    after: Annotated[
        int | None, typer.Option(metavar="POSITION", min=0, help="Begin after this position. [default: the last -n]")
    ] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    aggregate: Annotated[str | None, typer.Option(metavar="ID", help="Only events of this aggregate.")] = None,
    follow: Annotated[bool, typer.Option(help="Go on with what comes, until Ctrl-C.")] = True,
    count: Annotated[int, typer.Option("-n", min=0, help="How many of the last events to begin with.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the whole data.")] = False,
) -> None:
    """Print events, one a line: position, time, type, aggregate, data. Ends with status 0 on Ctrl-C."""
    from events.envelope import event_types
    from eventstore import Filter
    from readside.settings import resolved_settings
    from readside.tailing import run
    from runtime.errors import SettingsError

    if event_type is not None and event_type not in event_types():
        raise SettingsError(f"--type {event_type}: there are only {', '.join(sorted(event_types()))}")
    settings = resolved_settings(mongo=False)
    only = Filter(aggregate_id=aggregate, event_type=event_type)
    run(settings, only, after=after, last=count, follow=follow, as_json=as_json)


def position_or_moment(text: str) -> int | datetime:
    """What ``--before`` may be; a date is its midnight in UTC. Raises `SettingsError`."""
    from runtime.errors import SettingsError

    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--before {text}: a position, a date or an RFC 3339 time is needed") from None
    if moment.tzinfo is None and len(text) > len("2026-01-01"):
        raise SettingsError(f"--before {text}: a time needs its zone, such as Z")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _run(work: "Callable[[Archiving, dict[str, int]], Awaitable[Sequence[Segment]]]") -> Sequence["Segment"]:
    from pymongo.errors import PyMongoError

    from eventstore.archives import ArchiveUnavailable
    from eventstore.archiving import archiving
    from readside.errors import StartError
    from readside.import_progress import shown_progress
    from readside.settings import resolved_settings
    from runtime.postgres import DRIVER_ERRORS, postgres_url

    settings = resolved_settings()

    async def run(progress: Callable[[int, int], None]) -> Sequence["Segment"]:
        passed = await _checkpoints(settings)
        async with archiving(postgres_url(settings), settings.archives, progress) as hold:
            return await work(hold, passed)

    try:
        with shown_progress("events") as progress:
            return asyncio.run(run(progress))
    except KeyboardInterrupt:
        typer.echo("events: stopped; what was under way is as it was before.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ArchiveUnavailable as error:
        raise StartError(str(error)) from None
    except PyMongoError as error:
        raise StartError(f"MongoDB did not play along ({type(error).__name__}); nothing was done.") from None
    except DRIVER_ERRORS as error:
        raise StartError(f"the database, or the disk, did not play along ({error}); run it again.") from None


async def _checkpoints(settings: Any) -> dict[str, int]:
    from projector.store import CHECKPOINTS
    from runtime.mongo import mongo_database

    database = mongo_database(settings, "events")
    try:
        return {found["_id"]: found["position"] async for found in database[CHECKPOINTS].find()}
    finally:
        database.client.close()


def _tell(what: str, segments: Sequence["Segment"]) -> None:
    for segment in segments:
        typer.echo(f"{what} {segment.first:,} to {segment.last:,}: {segment.file} ({segment.size / 2**20:,.1f} MiB)")
    if not segments:
        typer.echo(f"nothing to be {what}: only whole partitions move, and the newest one stays.", err=True)
