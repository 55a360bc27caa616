"""People before the console, in a real browser."""

import re
import time
from unittest.mock import ANY

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, expect

from events.ordering import OrderPlaced
from tests.browser.browsing import PHONE, sign_in, visiting
from tests.browser.conftest import Shop
from tests.integration.poison import poison

pytestmark = pytest.mark.slow

PAGES = ("/sales", "/orders", "/projections", "/dead-letters", "/events")


async def test_who_signs_in_sees_what_the_scopes_allow_and_nothing_after_signing_out(
    browser: Browser, shop: Shop
) -> None:
    async with visiting(browser, shop.url) as page:
        await page.goto("/orders")
        await page.wait_for_url("**/sign-in")
        await page.locator("input[name=token]").fill("not.a.token")
        await page.locator("input[name=token]").press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("This token is not accepted.")

        await sign_in(page, shop.token("staff"))
        assert await page.locator("nav a").all_inner_texts() == ["Sales", "Orders", "Projections"]
        await page.goto("/dead-letters")
        await page.wait_for_url("**/sales")

        cookies = await page.context.cookies()
        assert all(shop.token("staff")[:20] not in str(cookie) for cookie in cookies)
        assert next(one for one in cookies if one["name"] == "readside_console").get("httpOnly")
        await page.get_by_role("button", name="Sign out").click()
        await page.goto("/sales")
        await page.wait_for_url("**/sign-in")


async def test_a_member_signs_in_with_a_password_and_sees_their_own_orders_alone(browser: Browser, shop: Shop) -> None:
    someone = {"email": "ann@example.org", "name": "Ann", "password": "correct horse battery"}
    member = (await shop.ask("command", "POST", "/members", json=someone))["member_id"]
    mine, others = await shop.place(member), await shop.place("somebody-else")
    await shop.until_visible(others)
    async with visiting(browser, shop.url) as page:
        await page.goto("/sign-in")
        await page.get_by_label("E-mail").fill("ann@example.org")
        await page.get_by_label("Password", exact=True).fill("wrong wrong wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("E-mail or password is wrong.")
        await page.get_by_label("E-mail").fill("ann@example.org")
        await page.get_by_label("Password", exact=True).fill("correct horse battery")
        await page.keyboard.press("Enter")
        await expect(page.locator("tbody tr")).to_have_count(1)
        await page.goto(f"/orders/{others}")
        await expect(page.get_by_text("There is no such order")).to_be_visible()

        await page.goto(f"/orders/{mine}")
        await page.locator("summary", has_text="Cancel order").click()
        await page.get_by_label("Reason").fill("changed my mind")
        await page.get_by_role("button", name="Cancel order").click()
        await expect(page.locator("h2 .badge")).to_have_text("Canceled")


async def test_an_order_placed_elsewhere_appears_within_a_second(browser: Browser, shop: Shop) -> None:
    await shop.until_visible(await shop.place())
    async with visiting(browser, shop.url) as page, visiting(browser, shop.url) as beside:
        for one, path in ((page, "/orders"), (beside, "/sales")):
            await sign_in(one, shop.token("staff", "operator"))
            await one.goto(path)
        await expect(page.locator("tbody tr")).to_have_count(1)
        orders_today = beside.locator(".tile dd").first
        await expect(orders_today).to_have_text("1")

        order_id = await shop.place()
        began = time.monotonic()
        await page.locator(f"a[href='/orders/{order_id}']").wait_for(timeout=5_000)
        assert time.monotonic() - began < 1.0
        await expect(orders_today).to_have_text("2", timeout=1_000)

        await page.goto(f"/orders/{order_id}")
        events = page.locator(".detail > div:last-child tbody tr")
        await expect(events).to_have_count(1)
        await expect(events.first.locator("td").last).to_have_text("–")
        reason = {"reason": "changed my mind"}
        await shop.ask("command", "POST", f"/orders/{order_id}/cancel", "customer", subject="ann", json=reason)
        await expect(page.locator("h2 .badge")).to_have_text("Canceled", timeout=1_000)
        await expect(events.nth(1).locator("td").last).to_have_text(re.compile(r"\d+ ms"))


async def test_a_parked_event_is_looked_at_and_retried(
    browser: Browser, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.until_visible(await shop.place())
    with monkeypatch.context() as broken:
        poison(broken, "order_detail", OrderPlaced, ANY)  # it equals every id
        parked = await shop.place("ben")
        async with visiting(browser, shop.url) as page:
            await sign_in(page, shop.token("operator"))
            await page.goto("/dead-letters")
            await page.locator("tbody th a").first.click()
            await expect(page.get_by_text("ValueError: no such step").first).to_be_visible()
            await expect(page.get_by_text("Traceback (most recent call last)")).to_be_visible()
            await page.get_by_role("button", name="Retry").click()
            await expect(page.locator("h2 .badge")).to_have_text("failed")
            broken.undo()
            await page.get_by_role("button", name="Retry").click()
            await expect(page.locator("h2 .badge")).to_have_text("resolved")
            await expect(page.get_by_role("table", name="History")).to_contain_text("olga")
    await shop.until_visible(parked)


async def test_a_view_is_rebuilt_verified_and_rolled_back(browser: Browser, shop: Shop) -> None:
    await shop.until_visible(await shop.place())
    async with visiting(browser, shop.url) as page:
        await sign_in(page, shop.token("operator"))
        await page.goto("/projections")
        row = page.locator(".operations li", has_text="order_detail")
        await row.locator("summary", has_text="Verify").click()
        await row.get_by_role("button", name="Verify").click()
        await expect(page.get_by_text("order_detail: 1 documents compared")).to_be_visible(timeout=25_000)

        await row.locator("summary", has_text="Rebuild").click()
        await expect(row.get_by_text("The old view is served meanwhile")).to_be_visible()
        await row.get_by_role("button", name="Rebuild").click()
        rebuilt = page.get_by_text(re.compile(r"Served from order_detail\.v\d+\.g2: 1 documents, 0 differ"))
        await expect(rebuilt).to_be_visible(timeout=25_000)
        await row.locator("summary", has_text="Roll back").click()
        await row.get_by_role("button", name="Roll back").click()
        await expect(page.get_by_text(re.compile(r"Served from order_detail\.v\d+:"))).to_be_visible()


async def test_events_are_shown_as_they_come_and_by_type(browser: Browser, shop: Shop) -> None:
    order_id = await shop.place()
    await shop.until_visible(order_id)
    async with visiting(browser, shop.url) as page:
        await sign_in(page, shop.token("operator"))
        await page.goto("/events?event_type=OrderPlaced")
        await expect(page.locator("tbody tr")).to_have_count(1)
        await shop.place()
        await expect(page.locator("tbody tr")).to_have_count(2, timeout=2_000)
        await page.goto("/events?event_type=Nonsense")
        await expect(page.locator(".notice.bad")).to_be_visible()


async def test_nothing_keeps_anybody_out(browser: Browser, shop: Shop) -> None:
    order_id = await shop.place()
    await shop.until_visible(order_id)
    for shade in ("light", "dark"):
        async with visiting(browser, shop.url, color_scheme=shade) as page:
            await page.goto("/sign-in")
            await fine(page)
            await sign_in(page, shop.token("staff", "operator"))
            for path in (*PAGES, f"/orders/{order_id}"):
                await page.goto(path)
                await page.wait_for_selector(".card")
                await fine(page)


async def fine(page: Page) -> None:
    """Axe finds nothing serious."""
    found = await Axe().run(page)
    serious = [
        (page.url, one["id"], one["nodes"][0]["html"])
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert await page.evaluate("document.documentElement.lang") == "en"


async def test_on_a_phone_in_korean_nothing_is_wider_than_the_screen(browser: Browser, shop: Shop) -> None:
    order_id = await shop.place()
    await shop.until_visible(order_id)
    async with visiting(browser, shop.url, viewport=PHONE, locale="ko-KR") as page:
        await sign_in(page, shop.token("staff", "operator"))
        assert await page.locator("nav a").all_inner_texts() == ["매출", "주문", "프로젝션", "데드 레터", "이벤트"]
        for path in (*PAGES, f"/orders/{order_id}"):
            await page.goto(path)
            await page.wait_for_selector(".card")
            assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        await page.goto("/orders")
        await expect(page.locator(".badge").first).to_have_text("결제 대기")
        await expect(page.locator("tbody td").last).to_have_text("$19.80")


async def test_everything_can_be_done_by_keyboard(browser: Browser, shop: Shop) -> None:
    order_id = await shop.place()
    await shop.until_visible(order_id)
    async with visiting(browser, shop.url) as page:
        await sign_in(page, shop.token("staff"))
        await page.goto("/orders")
        await page.wait_for_selector("tbody tr")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        await page.keyboard.press("Enter")
        for _ in range(30):  # a date has a stop for each of its parts
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.getAttribute('href')") == f"/orders/{order_id}":
                break
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/orders/{order_id}")
        cancel = page.locator("summary", has_text="Cancel order")
        await cancel.focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.type("by keyboard")
        await page.keyboard.press("Enter")
        await expect(page.locator("h2 .badge")).to_have_text("Canceled")


async def test_the_theme_is_switched_and_kept(browser: Browser, shop: Shop) -> None:
    async with visiting(browser, shop.url, color_scheme="light") as page:
        await sign_in(page, shop.token("staff"))
        await page.locator("summary", has_text="Display").click()
        await page.get_by_label("Theme").select_option("dark")
        await page.get_by_label("Language").select_option("ko")
        await page.get_by_role("button", name="Apply").click()
        await page.wait_for_url("**/sales")
        await expect(page.locator("nav a").first).to_have_text("매출")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
