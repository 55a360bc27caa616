"""What in an Online Retail file is an order, what cancels one, and why the rest is rejected."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readside.importing import BATCH, batches
from readside.online_retail import (
    COLUMNS,
    GUEST,
    Cancellation,
    RetailFile,
    RetailLine,
    RetailOrder,
    UnreadableFileError,
    minor_units,
    read,
)

HEADER = ",".join(COLUMNS)

Judge = Callable[..., RetailFile]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Reads lines as a file with the right header; ``zone`` is UTC unless told otherwise."""

    def judge(*lines: str, zone: str = "UTC") -> RetailFile:
        file = tmp_path / "retail.csv"
        file.write_text("\n".join((HEADER, *lines)) + "\n", encoding="utf-8")
        return read(file, ZoneInfo(zone))

    return judge


def line(
    invoice: str = "1",
    *,
    code: str = "MUG",
    description: str = "RED MUG",
    quantity: str = "2",
    date: str = "01/03/2011 09:00",
    price: str = "1.50",
    customer: str = "11",
    country: str = "France",
) -> str:
    """A line of the file; quoted nowhere."""
    return ",".join((invoice, code, description, quantity, date, price, customer, country))


def reasons(retail_file: RetailFile) -> list[tuple[int, str]]:
    return [(rejected.line_number, rejected.reason) for rejected in retail_file.rejected]


def test_an_invoice_is_an_order_with_all_its_lines(judge: Judge) -> None:
    judged = judge(line("1", price="1.50"), line("1", price="1.25", quantity="3"), line("1", code="TRAY", price="10"))

    assert judged.steps == (
        RetailOrder(
            "1",
            datetime(2011, 3, 1, 9, 0, tzinfo=UTC),
            "11",
            "France",
            (
                RetailLine("MUG", "RED MUG", 2, 150),
                RetailLine("MUG", "RED MUG", 3, 125),
                RetailLine("TRAY", "RED MUG", 2, 1000),
            ),
        ),
    )
    assert judged.rejected == ()


@pytest.mark.parametrize(
    ("price", "pennies"),
    [("1.5", 150), ("10", 1000), ("0.125", 13), ("0.124", 12), ("9.995", 1000), ("0.005", 1), ("0.001", 0), (".5", 50)],
)
def test_prices_are_rounded_half_up_to_the_penny(judge: Judge, price: str, pennies: int) -> None:
    assert judge(line(price=price)).orders[0].lines[0].unit_price == pennies


@given(st.decimals(min_value=0, max_value=10**9, places=3))
def test_rounding_is_half_up_whatever_the_price(price: Decimal) -> None:
    assert minor_units(price) == (int(price * 1000) + 5) // 10


@pytest.mark.parametrize(
    ("zone", "date", "utc"),
    [
        ("Asia/Seoul", "01/03/2011 08:59", datetime(2011, 2, 28, 23, 59, tzinfo=UTC)),
        ("Europe/London", "01/07/2011 09:00", datetime(2011, 7, 1, 8, 0, tzinfo=UTC)),
        ("Europe/London", "27/03/2011 01:30", datetime(2011, 3, 27, 1, 30, tzinfo=UTC)),  # skipped by the clocks
        ("Europe/London", "30/10/2011 01:30", datetime(2011, 10, 30, 0, 30, tzinfo=UTC)),  # there twice
    ],
)
def test_dates_are_those_of_the_business_time_zone(judge: Judge, zone: str, date: str, utc: datetime) -> None:
    assert judge(line(date=date), zone=zone).orders[0].at == utc


def test_an_invoice_has_the_time_of_its_first_line(judge: Judge) -> None:
    judged = judge(line(date="01/03/2011 09:00"), line(date="01/03/2011 09:01"))

    assert judged.orders[0].at == datetime(2011, 3, 1, 9, 0, tzinfo=UTC)


def test_an_invoice_without_customer_is_the_guests(judge: Judge) -> None:
    assert judge(line(customer="")).orders[0].member_id == GUEST


def test_orders_come_in_the_order_of_their_time_and_then_of_the_file(judge: Judge) -> None:
    judged = judge(line("3"), line("2"), line("1", date="28/02/2011 09:00"))

    assert [order.order_id for order in judged.orders] == ["1", "3", "2"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(quantity="0"), "the quantity is not positive"),
        (line(quantity="-1"), "the quantity is not positive"),
        (line(price="0"), "the price is not positive"),
        (line(price="0.000"), "the price is not positive"),
        (line(price="-1.50"), "the price is not positive"),
        (line(quantity="many"), "the quantity 'many' is not a whole number of up to nine digits"),
        (line(quantity="1.5"), "the quantity '1.5' is not a whole number of up to nine digits"),
        (line(quantity="1234567890"), "the quantity '1234567890' is not a whole number of up to nine digits"),
        (line(quantity=""), "the quantity '' is not a whole number of up to nine digits"),
        (line(price="cheap"), "the price 'cheap' is not a number"),
        (line(price="NaN"), "the price 'NaN' is not a number"),
        (line(price="1e3"), "the price '1e3' is not a number"),
        (line(date="2011-03-01 09:00"), "the date '2011-03-01 09:00' is not dd/mm/yyyy hh:mm"),
        (line(date="31/02/2011 09:00"), "the date '31/02/2011 09:00' is not dd/mm/yyyy hh:mm"),
        (line(date="3/1/2011 9:00"), "the date '3/1/2011 9:00' is not dd/mm/yyyy hh:mm"),
        (line(code=""), "the stock code '' cannot be a product id"),
        (line(code="A/B"), "the stock code 'A/B' cannot be a product id"),
        (line(customer="A/B"), "the customer 'A/B' cannot be a member id"),
        (line(description="bell\x07"), "the line holds control characters"),
        (line(description="nul\x00"), "the line holds control characters"),
        (line() + ",more", "the line has 9 fields instead of 8"),
        ("1,MUG", "the line has 2 fields instead of 8"),
    ],
)
def test_a_bad_line_is_rejected_alone(judge: Judge, bad: str, reason: str) -> None:
    judged = judge(line(), bad, line())

    assert reasons(judged) == [(3, reason)]
    assert len(judged.orders[0].lines) == 2
    assert judged.rejected_invoices == 0


def test_an_invoice_left_without_lines_is_rejected(judge: Judge) -> None:
    judged = judge(line("1", quantity="-1"), line("1", price="0"), line("2"))

    assert reasons(judged) == [
        (2, "the quantity is not positive; the invoice is left without lines"),
        (3, "the price is not positive; the invoice is left without lines"),
    ]
    assert [order.order_id for order in judged.orders] == ["2"]
    assert judged.rejected_invoices == 1


@pytest.mark.parametrize("number", ["A1", "c1", "", "1A", "-1", "٣", "1" * 101])
def test_an_invoice_with_another_kind_of_number_is_rejected(judge: Judge, number: str) -> None:
    judged = judge(line(number), line(number))

    assert [rejected.line_number for rejected in judged.rejected] == [2, 3]
    assert all("neither all digits nor a credit note's" in rejected.reason for rejected in judged.rejected)
    assert (judged.steps, judged.rejected_invoices, judged.rejected_credit_notes) == ((), 1, 0)


def test_an_amount_that_could_not_be_booked_is_rejected(judge: Judge) -> None:
    judged = judge(line("1", quantity="999999999", price="999999999999"), line("2"))

    assert reasons(judged) == [(2, "the invoice's amount is larger than can be booked")]


def test_a_line_number_is_that_of_the_line_where_the_record_begins(judge: Judge) -> None:
    judged = judge(line(description='"TWO\nLINES"'), "", line(quantity="0"), line())

    assert [rejected.line_number for rejected in judged.rejected] == [2, 5]


class TestCreditNotes:
    """What cancels a whole earlier order, and what does not."""

    ORDER = (line("1", quantity="2"), line("1", quantity="3"), line("1", code="TRAY", quantity="1", price="9"))
    TRAY = line("C2", code="TRAY", quantity="-1", price="9.00", date="01/03/2011 10:00")
    MUGS = line("C2", quantity="-5", date="01/03/2011 10:00")
    NO_ORDER = "the credit note cancels no whole earlier order of its customer"

    def test_the_same_pieces_at_the_same_prices_cancel_the_order_however_they_are_spread(self, judge: Judge) -> None:
        judged = judge(*self.ORDER, self.TRAY, self.MUGS)

        assert judged.cancellations == (Cancellation("1", datetime(2011, 3, 1, 10, 0, tzinfo=UTC), "C2"),)
        assert judged.rejected == ()

    @pytest.mark.parametrize(
        "note",
        [
            (MUGS,),
            (TRAY, line("C2", quantity="-4", date="01/03/2011 10:00")),
            (TRAY, line("C2", quantity="-5", price="1.49", date="01/03/2011 10:00")),
            (TRAY, MUGS, line("C2", code="EXTRA", quantity="-1", date="01/03/2011 10:00")),
            (TRAY.replace(",11,", ",12,"), MUGS.replace(",11,", ",12,")),
            (TRAY.replace(",11,", ",,"), MUGS.replace(",11,", ",,")),
            (TRAY.replace("10:00", "08:59"), MUGS.replace("10:00", "08:59")),
            (TRAY, MUGS, line("C2", quantity="1", date="01/03/2011 10:00")),
            (TRAY, MUGS, line("C2", quantity="-1", price="0", date="01/03/2011 10:00")),
        ],
        ids=[
            "part",
            "fewer",
            "other price",
            "more",
            "other customer",
            "guest",
            "earlier",
            "a sale in it",
            "a gift in it",
        ],
    )
    def test_anything_else_is_rejected_with_all_its_lines(self, judge: Judge, note: tuple[str, ...]) -> None:
        judged = judge(*self.ORDER, *note)

        assert judged.cancellations == ()
        assert reasons(judged) == [(5 + at, self.NO_ORDER) for at in range(len(note))]
        assert (judged.rejected_invoices, judged.rejected_credit_notes) == (0, 1)

    def test_the_most_recent_such_order_is_canceled_and_each_only_once(self, judge: Judge) -> None:
        notes = [line(f"C{number}", quantity="-2", date="02/03/2011 09:00") for number in (3, 4, 5)]

        judged = judge(line("1"), line("2", date="01/03/2011 09:01"), *notes)

        assert [(step.credit_note, step.order_id) for step in judged.cancellations] == [("C3", "2"), ("C4", "1")]
        assert reasons(judged) == [(6, self.NO_ORDER)]

    def test_a_note_of_the_same_minute_cancels_what_stands_before_it_in_the_file(self, judge: Judge) -> None:
        assert len(judge(line("1"), line("C2", quantity="-2")).cancellations) == 1
        assert len(judge(line("C2", quantity="-2"), line("1")).cancellations) == 0

    def test_the_guest_counts_as_one_customer(self, judge: Judge) -> None:
        judged = judge(
            line("1", customer=""), line("C2", customer="", quantity="-2", date="01/03/2011 10:00", country="Spain")
        )

        assert [step.order_id for step in judged.cancellations] == ["1"]

    def test_rejected_lines_are_no_part_of_the_order_that_is_canceled(self, judge: Judge) -> None:
        judged = judge(line("1"), line("1", code="GIFT", price="0"), line("C2", quantity="-2"))

        assert [step.order_id for step in judged.cancellations] == ["1"]


class TestTheFileAsAWhole:
    """What is one clear sentence, and nothing imported."""

    def refusal(self, tmp_path: Path, content: bytes) -> str:
        file = tmp_path / "retail.csv"
        file.write_bytes(content)
        with pytest.raises(UnreadableFileError) as caught:
            read(file, ZoneInfo("UTC"))
        return str(caught.value).replace(str(file), "FILE")

    @pytest.mark.parametrize(
        "content", [b"", b"\n", b"a,b\n1,2\n", HEADER.lower().encode(), HEADER.encode() + b",More\n", b"\x00\x01\n"]
    )
    def test_other_columns(self, tmp_path: Path, content: bytes) -> None:
        assert self.refusal(tmp_path, content) == f"FILE does not have the columns {HEADER}."

    @pytest.mark.parametrize(("encoding", "line_number"), [("utf-16", 1), ("latin-1", 3)])
    def test_another_encoding(self, tmp_path: Path, encoding: str, line_number: int) -> None:
        content = f"{HEADER}\n{line()}\n{line(description='CAFÉ')}\n".encode(encoding)

        assert self.refusal(tmp_path, content) == f"FILE is not UTF-8: line {line_number} cannot be read as text."

    def test_a_quote_that_never_ends(self, tmp_path: Path) -> None:
        content = f"{HEADER}\n{line()}\n{line(description=chr(34) + 'MUG')}\n".encode()

        assert self.refusal(tmp_path, content).startswith("FILE is not a CSV file that can be read to its end: ")

    def test_no_file_and_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableFileError, match=r"cannot be read: No such file"):
            read(tmp_path / "none.csv", ZoneInfo("UTC"))
        with pytest.raises(UnreadableFileError, match=r"cannot be read: Is a directory"):
            read(tmp_path, ZoneInfo("UTC"))

    def test_a_byte_order_mark_and_other_line_ends_are_fine(self, tmp_path: Path) -> None:
        file = tmp_path / "retail.csv"
        file.write_bytes(f"{HEADER}\r\n{line()}\r\n".encode("utf-8-sig"))

        assert len(read(file, ZoneInfo("UTC")).orders) == 1

    def test_a_file_without_lines_holds_nothing(self, judge: Judge) -> None:
        assert judge() == RetailFile((), (), 0, 0)


class TestBatches:
    """How steps are cut into transactions."""

    @staticmethod
    def order(number: int) -> RetailOrder:
        return RetailOrder(str(number), datetime(2011, 3, 1, tzinfo=UTC), "11", "France", ())

    @staticmethod
    def cancellation(number: int) -> Cancellation:
        return Cancellation(str(number), datetime(2011, 3, 1, tzinfo=UTC), f"C{number}")

    @given(st.lists(st.booleans(), max_size=3 * BATCH))
    def test_every_step_once_in_order_and_none_with_the_order_that_it_cancels(self, cancels: list[bool]) -> None:
        steps: list[RetailOrder | Cancellation] = []
        for number, canceled in enumerate(cancels):
            steps.append(self.order(number))
            steps += [self.cancellation(number)] * canceled

        cut = list(batches(steps))

        assert [step for batch in cut for step in batch] == steps
        assert all(0 < len(batch) <= BATCH for batch in cut)
        assert all(len({step.order_id for step in batch}) == len(batch) for batch in cut)
