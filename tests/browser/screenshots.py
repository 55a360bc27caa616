"""Pictures of every page of the console, of a real `readside up --demo`, into docs/images: `make screenshots`."""

import asyncio
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.async_api import Page

from tests.browser.browsing import PHONE, browser_of, chromium, sign_in, token, url_of, visiting
from tests.e2e.stack import Stack, is_ready, wait_for

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PAGES = ("sales", "orders", "projections", "dead-letters", "events")
_SETTLE_SECONDS = 1.2


async def take(stack: Stack, path: str, folder: Path) -> None:
    """All of them."""
    run = stack.run()
    bearer = token((stack.data_dir / "jwt-secret").read_text().strip(), "staff", "operator")
    api = f"http://{run.local_host}:{run.query_port}"
    with httpx.Client(headers={"Authorization": f"Bearer {bearer}"}, trust_env=False) as client:

        def orders() -> list[dict[str, str]]:
            found: list[dict[str, str]] = client.get(f"{api}/orders", params={"limit": 12}).json()["items"]
            return found

        wait_for(lambda: len(orders()) == 12, "the demo's orders")
        order = next(one["order_id"] for one in orders() if one["status"] == "SHIPPED")
    async with browser_of(path) as browser:
        for shade in ("light", "dark"):
            async with visiting(browser, url_of(run), color_scheme=shade) as page:
                await _shot(page, "/sign-in", folder / f"console-sign-in-{shade}.png")
                await sign_in(page, bearer)
                await page.goto("/projections")
                await asyncio.sleep(8)  # charts of some seconds
                for name in PAGES:
                    await _shot(page, f"/{name}", folder / f"console-{name}-{shade}.png")
                await _shot(page, f"/orders/{order}", folder / f"console-order-{shade}.png")
        async with visiting(browser, url_of(run), viewport=PHONE, locale="ko-KR") as page:
            await sign_in(page, bearer)
            await _shot(page, "/sales", folder / "console-sales-phone-ko.png")
            await _shot(page, "/orders", folder / "console-orders-phone-ko.png")


async def _shot(page: Page, path: str, file: Path) -> None:
    await page.goto(path)
    await page.wait_for_load_state("networkidle") if path == "/sign-in" else await page.wait_for_selector(".card")
    await asyncio.sleep(_SETTLE_SECONDS)
    # A picture of a long table says no more, and weighs more.
    clip = {"x": 0, "y": 0, "width": 1280, "height": 640} if path == "/events" else None
    await page.screenshot(path=file, clip=clip)  # type: ignore[arg-type]


def main(folder: Path) -> None:
    """Start a shop, look at it, end it."""
    path = chromium()
    if path is None:
        sys.exit("no Chromium is installed")
    with (
        tempfile.TemporaryDirectory(prefix="shots-", ignore_cleanup_errors=True) as scratch,
        Stack(Path(scratch) / "data", "--demo") as stack,
    ):
        port = stack.until_ready().console_port
        wait_for(lambda: port is not None and is_ready(port), "the console")
        asyncio.run(take(stack, path, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
