"""The projector's port: health, metrics, and where the projections stand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from projector import operations
from projector.audit import Reconcile
from projector.daemon import Daemon
from projector.dead_letter_routes import install_dead_letters
from projector.edge import Operator, refusals
from projector.operations import ProjectionList
from projector.publishing import routes as publisher_routes
from projector.reacting import routes
from projector.reacting.engine import MakeBackground
from runtime.http import make_app
from runtime.settings import Settings
from runtime.tokens import Tokens


def create_app(
    settings: Settings, reconcile: Reconcile | None = None, background: MakeBackground | None = None
) -> FastAPI:
    """The application; the daemon runs as long as it does. Raises `SettingsError`.

    ``background`` makes the reactions and jobs that it is to run; they belong to the write side.
    """
    daemon = Daemon(settings, reconcile, background)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with daemon.running():
            yield

    app = make_app(
        "Readside projector",
        "The daemon between the write side and the read side: health, metrics and operations.",
        lifespan=lifespan,
        checks={
            "Postgres": daemon.postgres_works,
            "MongoDB": daemon.mongo_works,
            "scheduler": daemon.scheduler_works,
            "projections": daemon.projections_work,
            "reactions": daemon.reactions_work,
        },
        cors_origins=settings.allowed_origins,
    )
    app.state.tokens = Tokens(settings)
    install_dead_letters(app, daemon.database, daemon.look_at_dead_letters)

    app.state.registry = daemon.registry
    app.state.reacting = daemon.reacting
    app.state.publishing = daemon.publishing

    @app.get(
        "/projections",
        tags=["operations"],
        response_model=ProjectionList,
        summary="Where each projection stands",
        responses=refusals({422: "`invalid-input`: see `errors`"}),
    )
    async def projections(_: Operator) -> dict[str, list[dict[str, Any]]]:
        """As this process sees it; the query API tells what is served."""
        return {"items": [runner.status() for runner in daemon.runners]}

    app.include_router(operations.router)
    app.include_router(routes.router)
    app.include_router(publisher_routes.router)
    return app
