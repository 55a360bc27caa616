"""What every process does with a request, whatever it is about: HEAD, gzip, other origins, the log."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse
from structlog.testing import capture_logs

from query.etags import matches
from runtime.compression import SMALLEST, accepts_gzip
from runtime.http import JsonResponse, make_app
from runtime.settings import Settings

ASKED = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
LONG = {"text": "x" * SMALLEST}


@asynccontextmanager
async def a_lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Nothing to start."""
    yield


def an_app(**options: Any) -> FastAPI:
    """With a few routes of every kind."""
    app = make_app("Test", "For tests.", lifespan=a_lifespan, checks={}, **options)

    @app.get("/long/{name}")
    async def long(name: str) -> Response:
        return JsonResponse(LONG, headers={"ETag": '"3"', "Vary": "Authorization"})

    @app.get("/short")
    async def short() -> Response:
        return JsonResponse({"text": "x"}, headers={"ETag": '"3"'})

    @app.get("/unchanged")
    async def unchanged(request: Request) -> Response:
        return Response(None, 304 if matches('"3"', request.headers.getlist("if-none-match")) else 200, {"ETag": '"3"'})

    @app.get("/stream")
    async def stream() -> Response:
        async def parts() -> AsyncIterator[str]:
            for number in range(3):
                yield f"data: {number}{'x' * SMALLEST}\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    @app.get("/crash")
    async def crash() -> Response:
        raise RuntimeError("secret")

    return app


@asynccontextmanager
async def a_client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """One that says no more than it is told to."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        del client.headers["accept-encoding"]
        yield client


class TestHead:
    """RFC 9110, 9.3.2."""

    @pytest.mark.parametrize("path", ["/livez", "/long/a", "/openapi.json", "/nowhere", "/metrics"])
    async def test_is_the_answer_to_get_without_its_body(self, path: str) -> None:
        async with a_client(an_app()) as client:
            get, head = await client.get(path), await client.head(path)

        assert (head.status_code, head.content) == (get.status_code, b"")
        differing = {"x-request-id"} | ({"content-length"} if path == "/metrics" else set())  # which counts seconds
        assert {k: v for k, v in head.headers.items() if k not in differing} == {
            k: v for k, v in get.headers.items() if k not in differing
        }

    async def test_is_not_for_a_stream(self) -> None:
        async with a_client(an_app()) as client:
            answer = await client.head("/stream")

        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


class TestGzip:
    """Where the caller asks for it."""

    async def test_is_sent_to_who_asks_for_it_with_a_tag_of_its_own(self) -> None:
        async with a_client(an_app()) as client:
            plain = await client.get("/long/a")
            async with client.stream("GET", "/long/a", headers={"Accept-Encoding": "gzip"}) as zipped:
                raw = b"".join([part async for part in zipped.aiter_raw()])

        assert "content-encoding" not in plain.headers
        assert gzip.decompress(raw) == plain.content
        assert zipped.headers["content-encoding"] == "gzip"
        assert int(zipped.headers["content-length"]) == len(raw) < len(plain.content)
        assert (plain.headers["etag"], zipped.headers["etag"]) == ('"3"', '"3-gzip"')
        assert plain.headers["vary"] == zipped.headers["vary"] == "Authorization, Accept-Encoding"

    @pytest.mark.parametrize("path", ["/short", "/stream"])
    async def test_is_not_for_what_is_short_or_has_no_end(self, path: str) -> None:
        async with a_client(an_app()) as client:
            answer = await client.get(path, headers={"Accept-Encoding": "gzip"})

        assert "content-encoding" not in answer.headers

    @pytest.mark.parametrize(("tag", "told"), [('"3"', '"3"'), ('"3-gzip"', '"3-gzip"'), ('W/"3-gzip"', '"3-gzip"')])
    async def test_a_tag_of_either_form_is_not_modified(self, tag: str, told: str) -> None:
        async with a_client(an_app()) as client:
            answer = await client.get("/unchanged", headers={"Accept-Encoding": "gzip", "If-None-Match": tag})

        assert (answer.status_code, answer.headers["etag"]) == (304, told)

    @pytest.mark.parametrize(
        ("given", "accepted"),
        [
            ([], False),
            ([""], False),
            (["gzip"], True),
            (["GZip;q=0.5, br"], True),
            (["br", "gzip"], True),
            (["gzip;q=0"], False),
            (["gzip; q = 0.000"], False),
            (["*"], True),
            (["*, gzip;q=0"], False),
            (["identity"], False),
            (["gzipped"], False),
        ],
    )
    def test_is_asked_for(self, given: list[str], accepted: bool) -> None:
        assert accepts_gzip(given) is accepted


class TestOtherOrigins:
    """A browser asks before it lets the script of another page call."""

    async def test_none_may_call_unless_configured(self) -> None:
        async with a_client(an_app()) as client:
            answers = [
                await client.options("/short", headers=ASKED),
                await client.get("/short", headers=ASKED),
            ]

        assert [answer.status_code for answer in answers] == [405, 200]
        assert answers[0].headers["allow"] == "GET, HEAD"
        assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]

    async def test_those_that_are_configured_may_and_no_other(self) -> None:
        async with a_client(an_app(cors_origins=("https://shop.example",))) as client:
            asked = await client.options("/short", headers=ASKED)
            other = await client.options("/short", headers=ASKED | {"Origin": "https://evil.example"})
            called = await client.get("/short", headers=ASKED)

        assert (asked.status_code, other.status_code) == (200, 400)
        assert asked.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-origin" not in other.headers
        assert "access-control-allow-credentials" not in asked.headers
        assert "Consistency-Token" in called.headers["access-control-expose-headers"]

    @pytest.mark.parametrize("origins", ["*", "shop.example", "https://shop.example/", "https://*.example", "null"])
    def test_what_is_no_origin_stops_the_process_at_start(self, origins: str) -> None:
        with pytest.raises(ValidationError, match="is no origin"):
            Settings(_env_file=None, cors_origins=origins)  # type: ignore[call-arg]  # a developer's .env has no say


class TestAccessLog:
    """One line per request, and nothing in it that is anybody's business."""

    async def test_a_line_has_the_route_and_nothing_that_was_sent(self) -> None:
        headers = {"Authorization": "Bearer s3cret", "X-Request-Id": "r-1", "User-Agent": "Ann's phone"}
        with capture_logs() as lines:
            async with a_client(an_app()) as client:
                await client.get("/long/ann@example.com?email=ann@example.com", headers=headers)
                await client.get("/nobody/ann@example.com", headers=headers)
                await client.request("ANN", "/short", headers=headers)
                await client.get("/livez", headers=headers)

        told = [{name: line[name] for name in line if name != "ms"} for line in lines]
        same = {"event": "request", "log_level": "info", "request_id": "r-1"}
        assert told == [
            same | {"method": "GET", "route": "/long/{name}", "status": 200},
            same | {"method": "GET", "route": "unknown", "status": 404},
            same | {"method": "other", "route": "/short", "status": 405},
        ]
        assert all(line["ms"] >= 0 for line in lines)

    async def test_a_crash_is_a_line_with_500_and_the_same_request_id(self) -> None:
        with capture_logs() as lines:
            async with a_client(an_app()) as client:
                await client.get("/crash", headers={"X-Request-Id": "r-1"})

        assert [(line["event"], line["request_id"]) for line in lines] == [
            ("request", "r-1"),
            ("request crashed", "r-1"),
        ]
        assert lines[0]["status"] == 500


@pytest.mark.parametrize("path", ["/short/", "/livez/"])
async def test_a_slash_too_many_is_not_found_and_no_redirect(path: str) -> None:
    async with a_client(an_app()) as client:
        answer = await client.get(path, headers={"Host": "evil.example"})

    assert (answer.status_code, answer.headers.get("location")) == (404, None)
    assert answer.headers["content-type"] == "application/problem+json"
