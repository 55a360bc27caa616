"""Who may call what: a route depends on `requires`, and gets the caller or answers 401 or 403."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import jwt
from fastapi import Request, Security
from fastapi.security import HTTPBearer, OAuth2PasswordBearer

from runtime.problems import Problem
from runtime.tokens import SCOPES, Caller, KeysUnavailableError, ScopeName, Tokens

_bearer = HTTPBearer(auto_error=False, description="A JWT: `readside token --subject NAME --scope staff`")
_password = OAuth2PasswordBearer(tokenUrl="/token", scopes=SCOPES, auto_error=False)


async def _caller(request: Request) -> Caller:
    given = request.headers.getlist("authorization")
    # Of two, whoever stands in front of this process may have checked the other one.
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized("A bearer token is needed.")
    tokens: Tokens = request.app.state.tokens
    try:
        return await tokens.verify(token.strip())
    except KeysUnavailableError:
        raise Problem(
            503, "unavailable", "Tokens cannot be checked just now; try again.", headers={"Retry-After": "5"}
        ) from None
    except (jwt.PyJWTError, ValueError):
        # Which check failed is of use to an attacker alone.
        raise _unauthorized("The token is not valid, or no longer.") from None


def requires(*any_of: ScopeName, password_flow: bool = False) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, whose token must carry one of these scopes.

    ``password_flow`` also documents ``POST /token`` of the same API, for the Authorize button of ``/docs``.
    """
    scheme = _password if password_flow else _bearer

    async def check(request: Request, _documented: Annotated[Any, Security(scheme)] = None) -> Caller:
        caller = await _caller(request)
        if caller.scopes.isdisjoint(any_of):
            raise Problem(403, "forbidden", f"This call needs the scope {' or '.join(any_of)}.")
        request.state.caller = caller
        return caller

    return check


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
