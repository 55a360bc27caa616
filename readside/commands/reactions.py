"""``readside reactions``: where they stand. Their dead letters are under ``readside dead-letters``."""

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def reactions() -> None:
    """See where reactions stand: what events bring about outside, such as refunds and mails."""


@app.command()
def status() -> None:
    """One line for each: state, health (idle, behind, stuck, stopped), position, head, lag, in flight, parked."""
    import asyncio

    from pymongo.errors import PyMongoError

    from readside.errors import StartError
    from readside.reaction_status import status_lines
    from readside.settings import resolved_settings
    from runtime.mongo import mongo_database

    async def run() -> None:
        database = mongo_database(resolved_settings(postgres=False), "cli")
        try:
            for line in await status_lines(database):
                typer.echo(line)
        finally:
            database.client.close()

    try:
        asyncio.run(run())
    except PyMongoError as error:
        raise StartError(f"MongoDB did not play along ({type(error).__name__}).") from None
