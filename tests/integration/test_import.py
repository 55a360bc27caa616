"""Importing real orders: what the log holds afterwards, and that a second run, or half of one, changes nothing."""

import asyncio
import csv
import itertools
import os
import re
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import pytest

from eventstore import Sequencer
from readside.errors import InUseError
from readside.importing import import_online_retail
from readside.online_retail import RetailFile, read
from runtime.settings import Settings
from tests.oracle.online_retail import Expected, Sales, expected_of

SMALL = Path(__file__).parents[1] / "data" / "online_retail_small.csv"
REAL = Path(__file__).parents[3] / "shared" / "data" / "online_retail.csv"
UTC = ZoneInfo("UTC")


async def imported_into(url: str, file: Path | RetailFile = SMALL, **options: Any) -> Any:
    retail_file = read(file, UTC) if isinstance(file, Path) else file
    return await import_online_retail(url, retail_file, currency="GBP", **options)


def stop_after(questions: int) -> Callable[[], bool]:
    """Asks the import to stop when it has looked so many times."""
    answers = itertools.chain(itertools.repeat(False, questions), itertools.repeat(True))
    return lambda: next(answers)


async def sequenced(url: str) -> None:
    """Everything from the outbox into the log."""
    sequencer = Sequencer(url)
    try:
        while (await sequencer.sequence()).moved:
            pass
    finally:
        await sequencer.close()


async def rows(url: str, query: str, *values: object) -> Sequence[Any]:
    connection = await asyncpg.connect(url)
    try:
        found: Sequence[Any] = await connection.fetch(query, *values)
        return found
    finally:
        await connection.close()


async def booked_in_the_log(url: str) -> Expected:
    """What the log says was paid and canceled, counted by the database from the payloads as they stand."""
    await sequenced(url)
    found = await rows(
        url,
        """
        SELECT event_type, aggregate_id, (occurred_at AT TIME ZONE 'UTC')::date AS day,
               line->>'product_id' AS product_id, (line->>'amount')::bigint AS amount,
               (line->>'quantity')::bigint AS quantity
          FROM event_log, jsonb_array_elements(payload::jsonb->'lines') AS line
         WHERE event_type IN ('OrderPaid', 'OrderCanceled')
        """,
    )
    total = Sales()
    by_day: dict[date, Sales] = defaultdict(Sales)
    by_product: dict[str, Sales] = defaultdict(Sales)
    by_both: dict[tuple[date, str], Sales] = defaultdict(Sales)
    for event_type, order_id, day, product_id, amount, quantity in found:
        for sales in (total, by_day[day], by_product[product_id], by_both[day, product_id]):
            if event_type == "OrderPaid":
                sales.orders.add(order_id)
                sales.gross += amount
                sales.units += quantity
            else:
                sales.canceled_orders.add(order_id)
                sales.canceled += amount
    reasons = await rows(url, "SELECT order_id, cancel_reason FROM orders WHERE status = 'CANCELED'")
    canceled_by = {row["order_id"]: row["cancel_reason"].removeprefix("credit note ") for row in reasons}
    return Expected(total, dict(by_day), dict(by_product), dict(by_both), canceled_by, set())


async def everything_in(url: str) -> dict[str, Any]:
    """All rows that an import could change."""
    tables = ("orders", "order_lines", "products", "product_stock", "members")
    found = {table: sorted(map(repr, await rows(url, f"SELECT * FROM {table}"))) for table in tables}  # noqa: S608
    events = await rows(
        url,
        "SELECT aggregate_id, aggregate_version, event_type, occurred_at FROM outbox UNION ALL "
        "SELECT aggregate_id, aggregate_version, event_type, occurred_at FROM event_log",
    )
    return {**found, "events": sorted(map(repr, events))}


def without_rejected_lines(expected: Expected) -> Expected:
    return Expected(
        expected.total,
        expected.by_day,
        expected.by_product,
        expected.by_day_and_product,
        expected.canceled_by,
        set(),
    )


@pytest.mark.parametrize(
    "file",
    [SMALL, pytest.param(REAL, marks=pytest.mark.skipif(not REAL.exists(), reason="the real file is not here"))],
    ids=["small", "real"],
)
async def test_the_log_agrees_to_the_penny_with_an_independent_count(postgres_url: str, file: Path) -> None:
    await imported_into(postgres_url, file)

    assert await booked_in_the_log(postgres_url) == without_rejected_lines(expected_of(file))


@pytest.mark.parametrize(
    "file",
    [SMALL, pytest.param(REAL, marks=pytest.mark.skipif(not REAL.exists(), reason="the real file is not here"))],
    ids=["small", "real"],
)
def test_the_same_lines_are_rejected_as_by_an_independent_reading(file: Path) -> None:
    assert {line.line_number for line in read(file, UTC).rejected} == expected_of(file).rejected_lines


@pytest.mark.skipif(not REAL.exists(), reason="the real file is not here")
def test_the_real_file_amounts_to_what_was_counted_by_hand_once() -> None:
    assert expected_of(REAL).total.figures() == {
        "paid_orders": 1_456,
        "gross_sales": 75_571_718,
        "units": 333_525,
        "canceled_orders": 7,
        "canceled_amount": 1_723_491,
        "net_sales": 73_848_227,
    }


async def test_orders_stand_in_the_log_in_the_order_of_their_time(postgres_url: str) -> None:
    await imported_into(postgres_url)
    await sequenced(postgres_url)

    found = await rows(
        postgres_url, "SELECT occurred_at FROM event_log WHERE aggregate_type = 'order' ORDER BY position"
    )
    times = [row["occurred_at"] for row in found]
    assert times == sorted(times)
    assert len(times) == 13 * 3 + 3 * 2


async def test_an_imported_order_keeps_its_number_customer_country_prices_and_names(postgres_url: str) -> None:
    await imported_into(postgres_url)

    order, *_ = await rows(
        postgres_url,
        "SELECT member_id, orderer_name, status, payment_status, version, total_amount, currency, zip_code, address1,"
        " address2 FROM orders WHERE order_id = '700002'",
    )
    lines = await rows(
        postgres_url,
        "SELECT product_id, name, category, unit_price, quantity, amount FROM order_lines"
        " WHERE order_id = ANY ('{700001,700002,700003}') ORDER BY order_id, line_number",
    )
    assert dict(order) == {
        "member_id": "guest",
        "orderer_name": "Guest",
        "status": "PREPARING",
        "payment_status": "APPROVED",
        "version": 3,
        "total_amount": 4 * 13 + 1000,
        "currency": "GBP",
        "zip_code": "",
        "address1": "France",
        "address2": "",
    }
    assert [tuple(line) for line in lines] == [
        ("MUG1", "RED MUG", "online-retail", 150, 2, 300),
        ("MUG1", "RED MUG (SALE)", "online-retail", 125, 3, 375),
        ("TRAY", "TRAY, OAK", "online-retail", 1000, 1, 1000),
        ("BOWL", "BLUE BOWL", "online-retail", 13, 4, 52),
        ("TRAY", "TRAY, OAK", "online-retail", 1000, 1, 1000),
        ("NAMELESS", "NAMELESS", "online-retail", 220, 1, 220),
    ]


async def test_what_was_sold_is_gone_and_what_was_canceled_is_back_in_stock(postgres_url: str) -> None:
    await imported_into(postgres_url)

    stock = await rows(postgres_url, "SELECT product_id, available FROM product_stock WHERE available > 0")
    assert {row["product_id"]: row["available"] for row in stock} == {"MUG1": 6, "TRAY": 1, "BOWL": 10}


async def test_imported_members_have_no_password(postgres_url: str) -> None:
    await imported_into(postgres_url)

    found = await rows(postgres_url, "SELECT member_id, email, name, password_hash FROM members ORDER BY member_id")
    assert [tuple(row) for row in found][-2:] == [
        ("11005", "11005@online-retail.invalid", "Customer 11005", None),
        ("guest", "guest@online-retail.invalid", "Guest", None),
    ]


async def test_a_second_run_changes_nothing_and_says_what_was_there(postgres_url: str) -> None:
    first = await imported_into(postgres_url)
    before = await everything_in(postgres_url)

    second = await imported_into(postgres_url)

    assert await everything_in(postgres_url) == before
    assert (first.orders, first.orders_before, first.cancellations, first.cancellations_before) == (13, 0, 3, 0)
    assert (second.orders, second.orders_before, second.cancellations, second.cancellations_before) == (0, 13, 0, 3)


async def test_a_run_stopped_anywhere_and_run_again_ends_like_one_that_was_not(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readside.importing.BATCH", 2)
    monkeypatch.setattr("readside.importing.PRODUCTS_AT_ONCE", 2)
    runs = 1
    while (await imported_into(postgres_url, stop=stop_after(runs))).stopped:
        runs += 1

    assert runs > 4
    assert await booked_in_the_log(postgres_url) == without_rejected_lines(expected_of(SMALL))
    versions = await rows(
        postgres_url, "SELECT aggregate_id, aggregate_version FROM event_log WHERE aggregate_type <> 'product'"
    )
    assert max(Counter(tuple(row) for row in versions).values()) == 1
    stock = await rows(postgres_url, "SELECT product_id, available FROM product_stock WHERE available > 0")
    assert {row["product_id"]: row["available"] for row in stock} == {"MUG1": 6, "TRAY": 1, "BOWL": 10}


async def test_stock_of_a_known_product_is_raised_by_what_is_short(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("INSERT INTO products VALUES ('MUG1', 1, 'Old mug', 'mugs', 99, 'GBP')")
    await connection.execute("INSERT INTO product_stock VALUES ('MUG1', 4)")
    await connection.close()

    await imported_into(postgres_url)

    events = await rows(
        postgres_url, "SELECT event_type, aggregate_version, payload FROM outbox WHERE aggregate_id = 'MUG1'"
    )
    sold = 2 + 3 + 1 + 6 + 1
    assert [
        (row["event_type"], row["aggregate_version"], msgspec.json.decode(row["payload"])["delta"]) for row in events
    ] == [("StockAdjusted", 2, sold - 4)]
    product, *_ = await rows(postgres_url, "SELECT name, category, unit_price FROM products WHERE product_id = 'MUG1'")
    assert tuple(product) == ("Old mug", "mugs", 99)


async def test_an_order_that_left_meanwhile_is_not_canceled(postgres_url: str) -> None:
    retail_file = read(SMALL, UTC)
    await imported_into(postgres_url, RetailFile(retail_file.orders, (), 0, 0))
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("UPDATE orders SET status = 'SHIPPED' WHERE order_id = '700010'")
    await connection.close()

    imported = await imported_into(postgres_url, retail_file)

    assert (imported.cancellations, imported.cancellations_before) == (2, 1)


async def test_only_one_import_runs_at_a_time(postgres_url: str) -> None:
    holder = await asyncpg.connect(postgres_url)
    await holder.execute("SELECT pg_advisory_lock(hashtext('readside import'))")

    with pytest.raises(InUseError, match="another import is running"):
        await imported_into(postgres_url)
    await holder.close()


class TestTheCommand:
    """``readside import online-retail``, as a person runs it."""

    @staticmethod
    def environment(settings: Settings) -> dict[str, str]:
        assert settings.postgres_url is not None
        return {
            **os.environ,
            "READSIDE_POSTGRES_URL": settings.postgres_url,
            "READSIDE_DATA_DIR": str(settings.data_dir),
            "READSIDE_CURRENCY": "GBP",
        }

    async def started(self, settings: Settings, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "readside",
            "import",
            "online-retail",
            *arguments,
            env=self.environment(settings) | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def ended(self, process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async def run(self, settings: Settings, *arguments: str, **environment: str) -> tuple[int | None, str, str]:
        return await self.ended(await self.started(settings, *arguments, **environment))

    async def test_it_ends_with_a_summary_and_the_file_of_what_was_rejected(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        file = tmp_path / "shop.csv"
        file.write_bytes(SMALL.read_bytes())

        status, out, err = await self.run(settings, str(file))

        assert (status, err) == (0, "")
        summary = [re.sub(r" {2,}", " ", line).replace(str(tmp_path), "DIR") for line in out.splitlines()]
        assert summary[:5] == [
            "accepted orders: 13 (0 more were there already)",
            "cancellations: 3 (0 more were there already)",
            "rejected lines: 17, listed in DIR/shop.rejected.csv",
            "rejected invoices: 3, and 5 credit notes",
            "new: 8 products, 6 members",
        ]
        assert re.fullmatch(r"speed: [\d,]+ orders a second \([\d.]+ s with reading the file\)", summary[5])
        with (tmp_path / "shop.rejected.csv").open(newline="") as lines:
            rejected = list(csv.reader(lines))
        assert rejected[0] == ["line", "invoice", "reason"]
        assert [int(row[0]) for row in rejected[1:]] == sorted(expected_of(SMALL).rejected_lines)
        assert rejected[3] == ["10", "700005", "the price is not positive"]

    async def test_another_currency_is_warned_about_in_one_sentence(self, settings: Settings, tmp_path: Path) -> None:
        status, _, err = await self.run(
            settings, str(SMALL), "--rejected", str(tmp_path / "r.csv"), READSIDE_CURRENCY="EUR"
        )

        assert status == 0
        assert err == ("import: warning: the file's pounds are booked as EUR; set READSIDE_CURRENCY=GBP for pounds.\n")

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"a,b\n1,2\n", "does not have the columns InvoiceNo,"),
            ("InvoiceNo\né".encode("latin-1"), "is not UTF-8: line 2 cannot be read as text."),
        ],
        ids=["columns", "encoding"],
    )
    async def test_a_bad_file_is_one_sentence_status_2_and_nothing_written(
        self, settings: Settings, tmp_path: Path, content: bytes, sentence: str
    ) -> None:
        file = tmp_path / "shop.csv"
        file.write_bytes(content)

        status, out, err = await self.run(settings, str(file))

        assert (status, out, err.count("\n")) == (2, "", 1)
        assert sentence in err
        assert not (tmp_path / "shop.rejected.csv").exists()

    async def test_a_place_for_rejected_lines_that_cannot_be_written_stops_it_before_anything_is_done(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        status, _, err = await self.run(settings, str(SMALL), "--rejected", str(tmp_path / "no" / "r.csv"))

        assert status == 2
        assert "r.csv cannot be written (No such file or directory)" in err
        assert settings.postgres_url is not None
        assert await rows(settings.postgres_url, "SELECT 1 FROM outbox") == []

    async def test_rejected_lines_never_go_over_the_file_itself(self, settings: Settings, tmp_path: Path) -> None:
        file = tmp_path / "shop.csv"
        file.write_bytes(SMALL.read_bytes())

        status, _, err = await self.run(settings, str(file), "--rejected", str(file))

        assert (status, file.read_bytes()) == (2, SMALL.read_bytes())
        assert "is the file to import; rejected lines cannot go there." in err

    async def test_a_database_that_was_not_migrated_is_said_to_be_so(self, settings: Settings, tmp_path: Path) -> None:
        assert settings.postgres_url is not None
        connection = await asyncpg.connect(settings.postgres_url)
        await connection.execute("DROP TABLE orders")
        await connection.close()

        status, _, err = await self.run(settings, str(SMALL), "--rejected", str(tmp_path / "r.csv"))

        assert (status, err) == (1, "readside: the database has not been migrated; run `readside migrate` first.\n")

    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
    async def test_it_stops_after_the_running_transaction_and_goes_on_the_next_time(
        self, settings: Settings, tmp_path: Path, stop: signal.Signals
    ) -> None:
        file = tmp_path / "long.csv"
        lines = [f"{number},MUG,RED MUG,1,01/03/2011 09:00,1.50,11,France" for number in range(1, 8_001)]
        file.write_text("\n".join((SMALL.read_text().splitlines()[0], *lines)))
        assert settings.postgres_url is not None

        process = await self.started(settings, str(file))
        while not await rows(settings.postgres_url, "SELECT 1 FROM orders LIMIT 1"):  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.01)
        process.send_signal(stop)
        status, out, err = await self.ended(process)

        assert status == 130
        # A slow machine has time for lines of progress before it.
        last = "import: stopped after the transaction that was under way; run it again to go on."
        assert err.splitlines()[-1] == last
        (taken,) = await rows(settings.postgres_url, "SELECT count(*) AS orders FROM orders")
        assert 0 < taken["orders"] < 8_000
        assert f"accepted orders:   {taken['orders']:,} (0 more" in out

        status, out, _ = await self.run(settings, str(file))

        assert status == 0
        assert f"accepted orders:   {8_000 - taken['orders']:,} ({taken['orders']:,} more were there already)" in out
        (stock,) = await rows(settings.postgres_url, "SELECT available FROM product_stock")
        assert stock["available"] == 0
