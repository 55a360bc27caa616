"""A shop whose APIs run here, so that a test can break a fold, and a console of its own process before it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser

from command.app import create_app as command_app
from projector.app import create_app as projector_app
from query.app import create_app as query_app
from readside.ports import claim
from runtime.settings import Settings
from tests.browser.browsing import browser_of, chromium, token
from tests.conftest import JWT_SECRET
from tests.integration.serving import served

_PATIENCE_SECONDS = 40.0
_SHIPPING = {
    "receiver": {"name": "Ann", "phone": "555-0100"},
    "address": {"zip_code": "12345", "address1": "1 Example Street", "address2": ""},
    "message": "",
}


class Shop:
    """The three APIs, the console, and what somebody else does to them."""

    def __init__(self, client: httpx.AsyncClient, console_url: str, urls: dict[str, str]) -> None:
        self.url = console_url
        self._client, self._urls = client, urls

    def token(self, *scopes: str, subject: str = "olga") -> str:
        """Of somebody with these scopes."""
        return token(JWT_SECRET, *scopes, subject=subject)

    async def ask(self, api: str, method: str, path: str, *scopes: str, subject: str = "olga", **more: Any) -> Any:
        """Call an API past the console. Fails the test where it refuses."""
        headers = {"Authorization": f"Bearer {self.token(*scopes, subject=subject)}"}
        answer = await self._client.request(method, self._urls[api] + path, headers=headers, **more)
        assert answer.is_success, answer.text
        return answer.json()

    async def place(self, subject: str = "ann") -> str:
        """An order of a product; returns its id."""
        body = {"lines": [{"product_id": "mug", "quantity": 2}], "shipping_info": _SHIPPING}
        placed = await self.ask("command", "POST", "/orders", "customer", subject=subject, json=body)
        return str(placed["order_id"])

    async def until_visible(self, order_id: str) -> None:
        """Wait until the query API serves it."""
        path, headers = f"{self._urls['query']}/orders/{order_id}", {"Authorization": f"Bearer {self.token('staff')}"}
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (await self._client.get(path, headers=headers)).status_code != 200:  # noqa: ASYNC110 - from outside
                await asyncio.sleep(0.02)

    async def open(self) -> None:
        """Something to sell."""
        product = {"product_id": "mug", "name": "Mug, blue", "category": "kitchen", "unit_price": 990, "stock": 1000}
        await self.ask("command", "POST", "/products", "staff", json=product)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The installed Chromium; without one these tests are skipped, but not where everything must be proved."""
    path = chromium()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium is installed, and CI must not skip the browser tests")
        pytest.skip("no Chromium is installed")
    async with browser_of(path) as browser:
        yield browser


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Shop]:
    """As `Shop`, with a product and no order."""
    apps = {"command": command_app, "query": query_app, "projector": projector_app}
    async with AsyncExitStack() as stack:
        urls = {name: (await stack.enter_async_context(served(make(settings)))).url for name, make in apps.items()}
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
        port = claim("127.0.0.1", 0, "--port")
        told = {f"READSIDE_{name.upper()}_URL": url for name, url in urls.items()} | {"READSIDE_LOG_FORMAT": "plain"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "readside", "console", "--port", str(port)),
            env=os.environ | told,
            cwd=settings.data_dir,
        )
        try:
            console = f"http://127.0.0.1:{port}"
            await _ready(client, console)
            shop = Shop(client, console, urls)
            await shop.open()
            yield shop
        finally:
            process.terminate()
            await process.wait()


async def _ready(client: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
