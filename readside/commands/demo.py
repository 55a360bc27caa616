"""``readside demo``: drives a lively shop, so that there is something to see."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from readside.demo_drive import Drive

_URL = "[default: that of the `readside up` on the data directory]"


def demo(
    rate: Annotated[float, typer.Option(min=0.01, max=1000, help="New orders a second, come what may.")] = 2.0,
    seconds: Annotated[float | None, typer.Option(min=1, help="For how long. [default: until Ctrl-C]")] = None,
    seed: Annotated[int, typer.Option(help="Another one is another day.")] = 1,
    poison: Annotated[
        bool | None,
        typer.Option(
            "--poison/--no-poison",
            help="Now and then an event that a view cannot take, healed after a while. [default: as `up` had --demo]",
        ),
    ] = None,
    heal_after: Annotated[float, typer.Option(min=0, help="Seconds until a poisoned event is healed.")] = 20.0,
    data_dir: Annotated[Path | None, typer.Option(help="Of the `readside up` to drive.")] = None,
    command_url: Annotated[str | None, typer.Option(help=f"Of the command API. {_URL}")] = None,
    query_url: Annotated[str | None, typer.Option(help=f"Of the query API. {_URL}")] = None,
    projector_url: Annotated[str | None, typer.Option(help=f"Of the projector. {_URL}")] = None,
    token: Annotated[str | None, typer.Option(help="With the scopes staff and operator. [default: made here]")] = None,
) -> None:
    """Drive a lively shop: orders, payments, declined cards, cancellations, deliveries, reviews, all over HTTP.

    The orders are real ones, of members whom it registers for it: not for a shop with customers. Ctrl-C ends it with a
    summary. Exit status: 0; 1 where nobody answers, or more than a tenth of the orders came to nothing; 2 for what
    cannot be done as it was asked.
    """
    import asyncio

    from readside.demo_drive import drive
    from readside.demo_tally import Tally, shown

    urls = (command_url, query_url, projector_url)
    asked = _asked(data_dir, urls, token, rate=rate, seconds=seconds, seed=seed, poison=poison, heal_after=heal_after)
    tally = Tally()
    with shown(tally) as where:
        try:
            asyncio.run(drive(asked, tally, where))
        except (KeyboardInterrupt, asyncio.CancelledError):
            where.say("ending")
    typer.echo(f"demo: {tally.line()}")
    if tally.latest_failure:
        typer.echo(f"demo: the latest that failed: {tally.latest_failure}", err=True)
    if tally.counts["failed"] > tally.counts["placed"] / 10:
        raise typer.Exit(1)


def _asked(
    data_dir: Path | None,
    urls: tuple[str | None, str | None, str | None],
    token: str | None,
    *,
    rate: float,
    seconds: float | None,
    seed: int,
    poison: bool | None,
    heal_after: float,
) -> "Drive":
    import os

    from readside import run_file
    from readside.demo_drive import Drive
    from readside.demo_poison import door_of
    from readside.errors import NothingRunningError
    from readside.token import make_token
    from runtime.errors import SettingsError
    from runtime.settings import load_settings

    if data_dir is not None:
        os.environ["READSIDE_DATA_DIR"] = str(data_dir)  # the secret to sign with is looked for there too
    folder = load_settings().data_dir
    if any(urls) and not all(urls):
        raise SettingsError("--command-url, --query-url and --projector-url: give all of them, or none")
    run = None if any(urls) else run_file.read_living(folder)
    if run is None and not any(urls):
        raise NothingRunningError(f"nothing is running on {folder}: start `readside up --demo`, or give URLs")
    if run is not None:
        urls = (_url(run.command_port), _url(run.query_port), _url(run.projector_port))
    command, query, projector = (url.rstrip("/") for url in urls if url)
    return Drive(
        command=command,
        query=query,
        projector=projector,
        token=token or make_token("demo", ["staff", "operator"], lifetime_seconds=7 * 24 * 3600),
        rate=rate,
        seconds=seconds,
        seed=seed,
        door=door_of(run, asked=poison),
        heal_after_seconds=heal_after,
    )


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
