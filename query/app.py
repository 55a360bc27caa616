"""The query API: one process, one MongoDB, nothing of the write side."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pymongo
from fastapi import FastAPI

from query import members, orders, products, statistics
from query.edge import install_store_handlers
from query.follower import Follower
from query.live import LiveViews
from query.loader import Loader
from query.reading import ReadModels
from query.remembered import Remembered
from query.resources import routers
from runtime.errors import ReadsideError
from runtime.http import make_app
from runtime.listeners import Listeners
from runtime.mongo import read_database
from runtime.settings import Settings
from runtime.shortcut import take_shortcuts
from runtime.tokens import Tokens
from views import all_views


class NotServing(ReadsideError):
    """Why this process cannot answer from the views yet."""


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects when it starts, and goes on trying. Raises `SettingsError`."""
    database = read_database(settings, "query-api")
    remembered = Remembered()
    follower = Follower(database, remembered)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.live = LiveViews(database, follower, app.state.listeners, remembered)
        async with follower, app.state.live.watching():
            app.state.read_models = ReadModels(database, follower, Loader(database), remembered)
            yield
        await database.client.close()

    async def mongodb_answers() -> None:
        # Not the driver's own patience: a server that is away must not hold a thread for every look at it.
        with pymongo.timeout(1.5):
            await database.command("ping")

    async def views_are_served() -> None:
        if not follower.available:
            raise NotServing("the projector's progress cannot be followed just now")
        missing = [view for view in all_views() if follower.checkpoint(view) is None]
        if follower.log is None or missing:
            raise NotServing(f"the projector has not made these views yet: {', '.join(missing) or 'all'}")

    app = make_app(
        "Readside query API",
        "The read side: orders, statistics, catalog, members and posts, as the views hold them. Every answer says how "
        "fresh it is; send a command's `Consistency-Token` to see its effects.",
        lifespan=lifespan,
        checks={"MongoDB": mongodb_answers, "views": views_are_served},
        cors_origins=settings.allowed_origins,
    )
    app.state.settings = settings
    app.state.tokens = Tokens(settings)
    app.state.listeners = Listeners(settings.most_listeners)
    install_store_handlers(app)
    for router in routers():
        app.include_router(router)
    take_shortcuts(app, orders.router, statistics.router, products.router, members.router)
    return app
