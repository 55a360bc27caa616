"""Verifying views from the command line: progress on standard error, differences on standard output.

Then the statistics' totals against those of the orders: the log itself might be wrong.
"""

from contextlib import closing
from typing import TYPE_CHECKING

import typer
from sqlalchemy.exc import SQLAlchemyError

from eventstore import EventLog
from projector.abandoned import APP_NAME
from projector.verification import Verification, Verified, verification_of
from readside.import_progress import shown_progress
from readside.reconciliation import reconciled
from runtime.errors import ReadsideError
from runtime.mongo import mongo_database
from runtime.postgres import make_engine, postgres_url
from runtime.settings import Settings
from views import all_views, sales_statistics

if TYPE_CHECKING:
    from projector.differences import Difference
    from runtime.mongo import Database

FINE, DIFFERENT, NOT_VERIFIED = 0, 1, 2
"""Exit statuses. `DIFFERENT` where anything differs, and stays so where it was to be healed."""


async def verify(settings: Settings, name: str | None, *, heal: bool) -> int:
    """Verify one view, or all; the exit status. Raises `ReadsideError` where the one cannot be verified."""
    # Under the projectors' name: a transaction that a killed heal left open is then ended by any of them.
    database = mongo_database(settings, APP_NAME.removeprefix("readside "))
    statuses = {FINE}
    try:
        url, archive_dir = postgres_url(settings), settings.archives
        async with EventLog(url, "verify", archive_dir=archive_dir, pool_size=2) as event_log:
            for view in [name] if name is not None else all_views():
                try:
                    statuses.add(await _verify(database, event_log, settings, view, heal=heal))
                except ReadsideError as error:
                    if name is not None:
                        raise
                    typer.echo(f"{view}: not verified: {error}", err=True)
                    statuses.add(NOT_VERIFIED)
            if name in (None, sales_statistics.view.name):
                statuses.add(await _reconciled(database, event_log, settings))
    finally:
        database.client.close()
    return DIFFERENT if DIFFERENT in statuses else max(statuses)


async def _verify(database: "Database", event_log: EventLog, settings: Settings, view: str, *, heal: bool) -> int:
    with closing(await verification_of(database, event_log, settings, view)) as verification:
        verified = await _compared(verification)
        for failure in verified.failures:
            typer.echo(f"{verified.instance}: taken by the view, and not folded by this code: {failure}")
        typer.echo(
            f"{verified.instance}: {verified.documents:,} documents compared at position {verified.position:,},"
            f" {_of_differences(verified.differences)}."
        )
        if verified.failures:
            return DIFFERENT
        if not heal or not verified.differences:
            return DIFFERENT if verified.differences else FINE
        return await _healed(verification)


async def _compared(verification: Verification) -> Verified:
    instance = verification.instance
    with shown_progress(f"{instance}: events") as told:
        await verification.fold(told)
    with shown_progress(f"{instance}: documents") as told:
        return await verification.compare(_print, told)


async def _healed(verification: Verification) -> int:
    with shown_progress(f"{verification.instance}: healed") as told:
        healed = await verification.heal(told)
    still = f", {_of_differences(healed.left)} left" if healed.left else ""
    typer.echo(f"{verification.instance}: {healed.documents:,} documents healed{still}.")
    return DIFFERENT if healed.left else FINE


async def _reconciled(database: "Database", event_log: EventLog, settings: Settings) -> int:
    engine = make_engine(postgres_url(settings), "verify", pool_size=1)
    try:
        totals = await reconciled(database, event_log, engine, settings)
    except SQLAlchemyError as error:
        raise ConnectionError(f"the orders cannot be read: {type(error).__name__}") from error
    except ReadsideError as error:
        typer.echo(f"reconciliation: not possible now: {error}", err=True)
        return FINE  # nothing is known to differ
    finally:
        await engine.dispose()
    wrong = [total for total in totals if total.difference]
    for total in wrong:
        typer.echo(f"  {total.name}: {total.statistics:,} by the statistics, {total.orders:,} by the orders")
    typer.echo(f"reconciliation: {len(totals)} totals of orders and statistics, {_of_differences(len(wrong))}.")
    return DIFFERENT if wrong else FINE


def _print(difference: "Difference") -> None:
    for line in difference.lines():
        typer.echo(f"  {line}")


def _of_differences(count: int) -> str:
    return "no difference" if count == 0 else f"{count:,} difference{'s' if count > 1 else ''}"
