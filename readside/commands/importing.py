"""``readside import``: orders of another shop, through the domain of this one.

Exit status: 0; 1 where the database did not play along (running it again goes on); 2 for a file or a setting that
cannot work, with nothing written; 130 after Ctrl-C, which lets the transaction under way end.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # the domain takes long to import, and `readside --help` does not need it
    from readside.importing import Imported
    from readside.online_retail import RetailFile

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

INTERRUPTED = 130


@app.callback()
def orders_of_another_shop() -> None:
    """Take in orders of another shop."""


@app.command("online-retail")
def online_retail(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A file in the UCI Online Retail format.")],
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where rejected lines go. [default: FILE.rejected.csv beside the input]"),
    ] = None,
) -> None:
    """Import the UCI Online Retail file: invoices become paid orders, whole credit notes cancel them.

    Dates are taken in READSIDE_TIME_ZONE, amounts are booked in READSIDE_CURRENCY. Run again after an interruption,
    it goes on where it stopped; run once more, it changes nothing.
    """
    import time

    from readside.import_report import summary, write_rejected
    from readside.online_retail import read
    from readside.settings import resolved_settings

    started = time.perf_counter()
    settings = resolved_settings(mongo=False)
    assert settings.postgres_url is not None
    if settings.currency != "GBP":
        _say(f"warning: the file's pounds are booked as {settings.currency}; set READSIDE_CURRENCY=GBP for pounds.")
    try:
        retail_file = read(file, settings.zone)
    except KeyboardInterrupt:
        _say("stopped: nothing was written.")
        raise typer.Exit(INTERRUPTED) from None
    rejected_file = rejected or file.with_name(f"{file.stem}.rejected.csv")
    write_rejected(rejected_file, retail_file.rejected, not_over=file)
    imported = _imported(settings.postgres_url, retail_file, settings.currency)
    for line in summary(retail_file, imported, rejected_file, time.perf_counter() - started):
        typer.echo(line)
    if imported.stopped:
        _say("stopped after the transaction that was under way; run it again to go on.")
        raise typer.Exit(INTERRUPTED)


def _imported(url: str, retail_file: "RetailFile", currency: str) -> "Imported":
    import asyncpg
    import uvloop
    from sqlalchemy.exc import SQLAlchemyError

    from command.errors import CommandRefused
    from readside.errors import StartError
    from readside.import_progress import interruption, shown_progress
    from readside.importing import import_online_retail
    from runtime.postgres import DRIVER_ERRORS

    try:
        with shown_progress("orders and cancellations") as progress, interruption() as interrupted:
            return uvloop.run(
                import_online_retail(url, retail_file, currency=currency, progress=progress, stop=interrupted)
            )
    except (*DRIVER_ERRORS, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        if getattr(cause, "sqlstate", None) == asyncpg.UndefinedTableError.sqlstate:
            raise StartError("the database has not been migrated; run `readside migrate` first.") from None
        raise StartError(f"the database did not play along ({cause}); run the import again to go on.") from None
    except CommandRefused as error:
        raise StartError(f"the shop refused: {error} Run the import again to go on.") from None


def _say(sentence: str) -> None:
    typer.echo(f"import: {sentence}", err=True)
