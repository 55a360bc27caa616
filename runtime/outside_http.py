"""HTTP calls of services that are not ours: each has an end, a key that makes it safe to repeat, and no surprises.

No proxy, certificate or password from the environment, and no redirect, decides where a shop's data goes.
"""

import asyncio

import httpx

from runtime import tracing
from runtime.errors import ReadsideError

TIMEOUT_SECONDS = 10.0
_CONNECT_SECONDS = 5.0


class OutsideError(ReadsideError):
    """An outside service did not do what it was asked."""


def outside_client(timeout_seconds: float = TIMEOUT_SECONDS) -> httpx.AsyncClient:
    """A client with timeouts; how many calls run at once is its caller's to bound."""
    return httpx.AsyncClient(
        timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS)),
        # A bound here would make calls wait in line for a slow service, and time out before they were made.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=16, keepalive_expiry=30),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "readside"},
    )


async def post_json(
    client: httpx.AsyncClient,
    url: str,
    body: bytes,
    *,
    idempotency_key: str,
    traceparent: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> httpx.Response:
    """The answer, whatever its status. Raises `OutsideError` where there is none within the time."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
    try:
        with tracing.inner_span("POST", "client", http__request__method="POST"):
            if (told := tracing.traceparent(traceparent)) is not None:
                headers["traceparent"] = told
            # httpx's own timeouts begin anew with every byte: an answer that drips would never end.
            async with asyncio.timeout(timeout_seconds):
                answer = await client.post(url, content=body, headers=headers)
            tracing.describe(http__response__status_code=answer.status_code)
            return answer
    except TimeoutError:
        raise OutsideError(f"no answer within {timeout_seconds:g} seconds") from None
    except httpx.TimeoutException as error:
        raise OutsideError(f"no answer in time ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        # The type alone: messages may name the URL, and that may hold a password.
        raise OutsideError(f"no answer ({type(error).__name__})") from error
