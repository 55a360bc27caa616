"""The command API: one process, one Postgres, nothing of the read side."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import text

from command import contexts, event_schemas, feed
from command.bootstrap import before_commit_handlers, neighbours
from command.edge import WriteSide, install_refusal_handlers
from command.idempotency import IdempotencyKeys, sweeping
from command.members.throttle import Throttle
from command.unit_of_work import Transactions
from eventstore import Doorbell, EventLog, LogWatch
from runtime.consistency import ConsistencyTokens
from runtime.http import make_app
from runtime.listeners import Listeners
from runtime.postgres import SHORT_TIMEOUT_SECONDS, make_engine, postgres_url
from runtime.settings import Settings
from runtime.tokens import Tokens

STATEMENT_TIMEOUT_MS = 9_000
"""No command waits longer for a lock: its caller is told to try again, and its connection is free for others."""


def _event_log(settings: Settings) -> EventLog:
    return EventLog(postgres_url(settings), "command-api feed", archive_dir=settings.archives)


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects when it starts. Raises `SettingsError`."""
    url = postgres_url(settings)
    engine = make_engine(
        url,
        "command-api",
        pool_size=16,
        timeout_seconds=SHORT_TIMEOUT_SECONDS,
        statement_timeout=str(STATEMENT_TIMEOUT_MS),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _event_log(settings) as log, Doorbell(url) as doorbell, sweeping(engine):
            deployment_id = await log.deployment_id()
            secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else ""
            watch = LogWatch(log, app.state.listeners)
            app.state.event_feed = feed.EventFeed(log, watch, app.state.listeners)
            app.state.write_side = WriteSide(
                Transactions(engine, before_commit_handlers(), doorbell),
                ConsistencyTokens(deployment_id),
                IdempotencyKeys(deployment_id=deployment_id, secret=secret),
            )
            async with watch.watching():
                yield
        await engine.dispose()

    async def postgres_answers() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    app = make_app(
        "Readside command API",
        "The write side: members, catalog, ordering, posts, and the event log to pull from.",
        lifespan=lifespan,
        checks={"Postgres": postgres_answers},
        cors_origins=settings.allowed_origins,
    )
    app.state.settings = settings
    app.state.tokens = Tokens(settings)
    app.state.neighbours = neighbours()
    app.state.listeners = Listeners(settings.most_listeners)
    app.state.throttle = Throttle(settings)
    install_refusal_handlers(app)
    for module in (*contexts.brought("routes"), event_schemas, feed):
        app.include_router(module.router)
    return app
