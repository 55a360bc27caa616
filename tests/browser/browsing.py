"""A browser before the console: the installed Chromium, and a person who signs in."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from readside.run_file import Run
from runtime.settings import Settings
from runtime.tokens import Tokens

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def chromium() -> str | None:
    """The path of the installed Chromium."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@asynccontextmanager
async def browser_of(path: str) -> AsyncIterator[Browser]:
    """One browser for many contexts."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


def token(secret: str, *scopes: str, subject: str = "olga") -> str:
    """As `readside token` prints it."""
    settings = Settings(_env_file=None, jwt_secret=secret)  # type: ignore[call-arg,arg-type]
    return Tokens(settings).issue(subject, scopes)


def url_of(run: Run) -> str:
    """Where the console listens."""
    return f"http://{run.local_host}:{run.console_port}"


@asynccontextmanager
async def visiting(browser: Browser, url: str, **options: Any) -> AsyncIterator[Page]:
    """A page of a person with nothing in their browser; what its scripts complain about fails the test."""
    settings = {"viewport": DESKTOP, "locale": "en-GB", **options}
    context: BrowserContext = await browser.new_context(base_url=url, **settings)
    context.set_default_timeout(15_000)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: _is_local(request.url, url, complaints))
    try:
        yield page
        assert complaints == []
    finally:
        await context.close()


def _is_local(asked: str, url: str, complaints: list[str]) -> None:
    if not asked.startswith((url, url.replace("http", "ws", 1), "data:", "blob:")):
        complaints.append(f"something is fetched from elsewhere: {asked}")


async def sign_in(page: Page, bearer: str) -> None:
    """With a pasted token."""
    await page.goto("/sign-in")
    await page.locator("input[name=token]").fill(bearer)
    await page.locator("input[name=token]").press("Enter")
    await page.wait_for_selector("nav")
