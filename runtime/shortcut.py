"""A shorter way to routes that are asked for all the time.

On its way to a route FastAPI matches the path against every route before it, walks the tree of dependencies, opens two
exit stacks and looks anew at what it could know since the start: more than the whole work of reading a document. All
of that is decided here once. The route stays as it is declared, and so does its OpenAPI document.

A shortcut takes what is in order, and no more: a GET whose parameters are all valid, known, and given once. Whatever
else comes, FastAPI answers, as if there were no shortcut: no refusal of a parameter is written twice. What a dependency
or the route itself raises goes to the handlers of the application, as ever.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Receive, Scope, Send

_LONGEST_QUERY_BYTES = 2_000

Call = Callable[..., Awaitable[Any]]
Values = dict[str, Any]


class _Shortcut:
    """The plan of one route: what it needs, and where that comes from."""

    def __init__(self, route: APIRoute) -> None:
        dependant = route.dependant
        assert route.methods == {"GET"}
        assert not dependant.header_params
        assert not dependant.cookie_params
        assert not dependant.body_params
        self.route = route
        self._call: Call = _called(dependant)
        self._request_name = dependant.request_param_name
        self._dependencies = [_dependency(one) for one in dependant.dependencies]
        self._path = {field.alias: field for field in dependant.path_params}
        self._query = {field.alias: field for field in dependant.query_params}
        self._defaults = {field.name: field.default for field in dependant.query_params}
        assert not any(field.field_info.is_required() for field in dependant.query_params)

    def values(self, path: Mapping[str, str], query_string: bytes) -> Values | None:
        """The parameters, checked as FastAPI would; ``None`` where one is not in order."""
        values: Values = {}
        for alias, text in path.items():
            field = self._path[alias]
            values[field.name], errors = field.validate(text, values, loc=("path", alias))
            if errors:
                return None
        if not self._query:
            return None if query_string else values
        values |= self._defaults
        if query_string:
            if len(query_string) > _LONGEST_QUERY_BYTES:
                return None
            given = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
            if len({alias for alias, _ in given}) < len(given):
                return None
            for alias, text in given:
                found = self._query.get(alias)
                if found is None:
                    return None
                values[found.name], errors = found.validate(text, values, loc=("query", alias))
                if errors:
                    return None
        return values

    async def answer(self, request: Request, values: Values) -> Response:
        """What the route answers."""
        for name, request_name, dependency in self._dependencies:
            values[name] = await dependency(**{request_name: request})
        if self._request_name is not None:
            values[self._request_name] = request
        answered: Response = await self._call(**values)
        return answered


class Shortcuts(BaseRoute):
    """Stands before all other routes of an application."""

    def __init__(self, routes: Sequence[APIRoute]) -> None:
        self._plain: dict[str, _Shortcut] = {}
        self._patterns: list[tuple[Any, _Shortcut]] = []
        for route in routes:
            if route.param_convertors:
                self._patterns.append((compile_path(route.path)[0].fullmatch, _Shortcut(route)))
            else:
                self._plain[route.path] = _Shortcut(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this can be answered here."""
        if scope["type"] == "http" and scope["method"] == "GET" and not scope.get("root_path"):
            shortcut, found = self._find(scope["path"])
            if shortcut is not None:
                values = shortcut.values(found, scope["query_string"])
                if values is not None:
                    return Match.FULL, {"route": shortcut.route, "shortcut": (shortcut, values)}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what was found to match."""
        shortcut, values = scope["shortcut"]
        response = await shortcut.answer(Request(scope, receive, send), values)
        await response(scope, receive, send)

    def _find(self, path: str) -> tuple[_Shortcut | None, Mapping[str, str]]:
        plain = self._plain.get(path)
        if plain is not None:
            return plain, {}
        for fullmatch, shortcut in self._patterns:
            found = fullmatch(path)
            if found is not None:
                return shortcut, found.groupdict()
        return None, {}


def take_shortcuts(app: FastAPI, *routers: APIRouter) -> None:
    """Give the GET routes of these routers, in their order, a shorter way."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    app.router.routes.insert(0, Shortcuts(routes))


def _called(dependant: Dependant) -> Call:
    assert dependant.call is not None
    return dependant.call


def _dependency(dependant: Dependant) -> tuple[str, str, Call]:
    # A scheme of `runtime.access` is there for the document alone: the check beside it reads the header itself.
    others = [one for one in dependant.dependencies if not isinstance(one.call, SecurityBase)]
    assert not others
    assert not dependant.path_params
    assert not dependant.query_params
    assert dependant.name is not None
    assert dependant.request_param_name is not None
    return dependant.name, dependant.request_param_name, _called(dependant)
