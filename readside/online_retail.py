"""Reading the UCI Online Retail file: what in it is an order, what cancels one, and why the rest is rejected.

Pure but for reading the one file; the same file and time zone always give the same `RetailFile`, which is what lets
an import be interrupted and run again.

Orders   An invoice whose number is all digits, with the time, the customer and the country of its first line (the
         first that can be read). A product may stand on several lines; all are kept, each with its own price.
Prices   Minor units, rounded half up. A price that is positive as read but rounds to nothing (0.001) is kept as 0:
         the goods left the shop.
Credit   A note (``C…``) that returns exactly what an earlier order of the same customer held, at the same prices,
notes    cancels it: the most recent such order that nothing has canceled before. It books no partial returns.
Times    Local times of the business time zone. One that a clock change skips or repeats is read as before the change.

Every line that becomes part of nothing stands in ``rejected`` once, with its line number in the file and the reason.
"""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from command.ordering.model import LARGEST_TOTAL
from runtime.errors import ReadsideError

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
GUEST = "guest"
"""The one member of all invoices without a customer."""

_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{4}) (\d{2}):(\d{2})", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d{1,12}(\.\d{0,18})?|\.\d{1,18})", re.ASCII)
_IDENTIFIER = re.compile(r"[^\x00-\x1f\x7f/]{1,100}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class UnreadableFileError(ReadsideError):
    """A file that is not in the Online Retail format as a whole: nothing of it can be imported."""


class RetailLine(msgspec.Struct, frozen=True):
    """One line of an order; ``unit_price`` in minor units, ``description`` maybe empty."""

    product_id: str
    description: str
    quantity: int
    unit_price: int


class RetailOrder(msgspec.Struct, frozen=True):
    """An invoice that is an order, of at least one line."""

    order_id: str
    at: datetime
    member_id: str
    country: str
    lines: tuple[RetailLine, ...]


class Cancellation(msgspec.Struct, frozen=True):
    """A credit note that cancels a whole order of the same file."""

    order_id: str
    at: datetime
    credit_note: str


class Rejected(msgspec.Struct, frozen=True):
    """A line that was not taken, and why."""

    line_number: int
    invoice: str
    reason: str


class RetailFile(msgspec.Struct, frozen=True):
    """What a file says, judged: ``steps`` in the order of their time, ``rejected`` in that of the file."""

    steps: tuple[RetailOrder | Cancellation, ...]
    rejected: tuple[Rejected, ...]
    rejected_invoices: int
    rejected_credit_notes: int

    @property
    def orders(self) -> tuple[RetailOrder, ...]:
        """The orders alone."""
        return tuple(step for step in self.steps if isinstance(step, RetailOrder))

    @property
    def cancellations(self) -> tuple[Cancellation, ...]:
        """The cancellations alone."""
        return tuple(step for step in self.steps if isinstance(step, Cancellation))


class _Row(msgspec.Struct, frozen=True):
    """A line as it stands in the file, without surrounding space."""

    line_number: int
    fields: list[str]

    @property
    def invoice(self) -> str:
        return self.fields[0]


class _Invoice(msgspec.Struct):
    """All lines of one invoice number; its head is taken from the first line that has a readable one."""

    number: str
    rows: list[_Row]
    at: datetime
    member_id: str
    country: str


def read(file: Path, zone: ZoneInfo) -> RetailFile:
    """Read and judge the whole file. Raises `UnreadableFileError` with one sentence."""
    return _judged(_rows(file), zone)


def minor_units(price: Decimal) -> int:
    """Pounds as pennies, rounded half up."""
    return int((price * 100).quantize(Decimal(1), ROUND_HALF_UP))


def _rows(file: Path) -> list[_Row]:
    lines = io.StringIO(_text(file), newline="")
    try:
        return list(_checked_rows(file, csv.reader(lines, strict=True)))
    except csv.Error as error:
        raise UnreadableFileError(f"{file} is not a CSV file that can be read to its end: {error}.") from None


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"{file} cannot be read: {error.strerror}.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_number = content.count(b"\n", 0, error.start) + 1
        raise UnreadableFileError(f"{file} is not UTF-8: line {line_number} cannot be read as text.") from None


def _checked_rows(file: Path, reader: Iterator[list[str]]) -> Iterator[_Row]:
    header = next(reader, [])
    if tuple(header) != COLUMNS:
        raise UnreadableFileError(f"{file} does not have the columns {','.join(COLUMNS)}.")
    ended_at: int = reader.line_num  # type: ignore[attr-defined]  # csv.reader's own
    for fields in reader:
        if fields:
            yield _Row(ended_at + 1, [field.strip() for field in fields])
        ended_at = reader.line_num  # type: ignore[attr-defined]


def _judged(rows: Sequence[_Row], zone: ZoneInfo) -> RetailFile:
    by_number: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_number[row.invoice].append(row)
    judge = _Judge(zone)
    # Sorting is stable: what has the same minute keeps the order of the file.
    for invoice in sorted(judge.invoices(by_number), key=lambda invoice: invoice.at):
        judge.decide(invoice)
    return judge.verdict()


class _Judge:
    """Decides invoices in the order of their time, remembering which orders a credit note could still cancel."""

    def __init__(self, zone: ZoneInfo) -> None:
        # A file holds a date on every line, but far fewer dates than lines.
        self._utc = lru_cache(maxsize=None)(lambda text: _utc(text, zone))
        self._steps: list[RetailOrder | Cancellation] = []
        self._rejected: list[Rejected] = []
        self._rejected_invoices = 0
        self._rejected_credit_notes = 0
        self._cancelable: dict[tuple[str, frozenset[object]], list[str]] = defaultdict(list)

    def invoices(self, by_number: dict[str, list[_Row]]) -> Iterator[_Invoice]:
        """Those that have a time at all; the rest is rejected here."""
        for number, rows in by_number.items():
            head = next((row for row in rows if self._unreadable(row) is None), None)
            if head is None:
                self._reject_invoice(number, rows, "the invoice is left without lines")
            else:
                at = self._utc(head.fields[4])
                assert at is not None
                yield _Invoice(number, rows, at, head.fields[6] or GUEST, head.fields[7])

    def decide(self, invoice: _Invoice) -> None:
        """Order, cancellation, or rejected."""
        if invoice.number.startswith("C"):
            self._decide_credit_note(invoice)
        elif not _is_order_number(invoice.number):
            self._reject_invoice(
                invoice.number, invoice.rows, "the invoice number is neither all digits nor a credit note's (C…)"
            )
        else:
            self._decide_order(invoice)

    def verdict(self) -> RetailFile:
        """All of it."""
        return RetailFile(
            steps=tuple(self._steps),
            rejected=tuple(sorted(self._rejected, key=lambda rejected: rejected.line_number)),
            rejected_invoices=self._rejected_invoices,
            rejected_credit_notes=self._rejected_credit_notes,
        )

    def _decide_order(self, invoice: _Invoice) -> None:
        reasons = {row.line_number: self._reason_against(row) for row in invoice.rows}
        accepted = [row for row in invoice.rows if reasons[row.line_number] is None]
        if not accepted:
            self._reject_invoice(invoice.number, invoice.rows, "the invoice is left without lines")
            return
        lines = tuple(_line(row) for row in accepted)
        if sum(line.unit_price * line.quantity for line in lines) > LARGEST_TOTAL:
            self._reject_invoice(invoice.number, invoice.rows, "the invoice's amount is larger than can be booked")
            return
        for row in invoice.rows:
            if reason := reasons[row.line_number]:
                self._rejected.append(Rejected(row.line_number, invoice.number, reason))
        self._steps.append(RetailOrder(invoice.number, invoice.at, invoice.member_id, invoice.country, lines))
        self._cancelable[invoice.member_id, _contents(lines)].append(invoice.number)

    def _decide_credit_note(self, note: _Invoice) -> None:
        returned = [_line(row, sign=-1) for row in note.rows if self._reason_against(row, sign=-1) is None]
        whole = len(returned) == len(note.rows)
        candidates = self._cancelable.get((note.member_id, _contents(returned)), []) if whole else []
        if candidates:
            self._steps.append(Cancellation(candidates.pop(), note.at, note.number))
        else:
            self._reject_invoice(
                note.number, note.rows, "the credit note cancels no whole earlier order of its customer"
            )

    def _reject_invoice(self, number: str, rows: Sequence[_Row], reason: str) -> None:
        is_credit_note = number.startswith("C")
        self._rejected_credit_notes += is_credit_note
        self._rejected_invoices += not is_credit_note
        for row in rows:
            # What is wrong with the line itself says more than what became of its invoice, where both are known.
            of_line = None if is_credit_note or not _is_order_number(number) else self._reason_against(row)
            self._rejected.append(Rejected(row.line_number, number, f"{of_line}; {reason}" if of_line else reason))

    def _reason_against(self, row: _Row, *, sign: int = 1) -> str | None:
        """Why the line cannot be taken; ``sign`` -1 for a credit note's, whose quantities are negative."""
        if reason := self._unreadable(row):
            return reason
        _, stock_code, _, quantity, _, price, _, _ = row.fields
        if not _IDENTIFIER.fullmatch(stock_code):
            return f"the stock code {stock_code!r} cannot be a product id"
        if not _WHOLE.fullmatch(quantity):
            return f"the quantity {quantity!r} is not a whole number of up to nine digits"
        if not _DECIMAL.fullmatch(price):
            return f"the price {price!r} is not a number"
        if int(quantity) * sign <= 0:
            return "the quantity is not positive" if sign > 0 else "the quantity is not negative"
        return None if _pounds(price) > 0 else "the price is not positive"

    def _unreadable(self, row: _Row) -> str | None:
        """What is wrong with the part that a line shares with its invoice: then it cannot be the invoice's head."""
        if len(row.fields) != len(COLUMNS):
            return f"the line has {len(row.fields)} fields instead of {len(COLUMNS)}"
        if any(map(_CONTROLS.search, row.fields)):
            return "the line holds control characters"
        date, customer = row.fields[4], row.fields[6]
        if self._utc(date) is None:
            return f"the date {date!r} is not dd/mm/yyyy hh:mm"
        if customer and not _IDENTIFIER.fullmatch(customer):
            return f"the customer {customer!r} cannot be a member id"
        return None


def _is_order_number(number: str) -> bool:
    # isascii: str.isdigit also holds for digits that no invoice is numbered with.
    return number.isascii() and number.isdigit() and len(number) <= 100


def _line(row: _Row, *, sign: int = 1) -> RetailLine:
    _, stock_code, description, quantity, _, price, _, _ = row.fields
    return RetailLine(stock_code, description, int(quantity) * sign, minor_units(_pounds(price)))


def _contents(lines: Sequence[RetailLine]) -> frozenset[object]:
    """What an order holds, however it is spread over lines."""
    pieces: Counter[tuple[str, int]] = Counter()
    for line in lines:
        pieces[line.product_id, line.unit_price] += line.quantity
    return frozenset(pieces.items())


@lru_cache(maxsize=4096)
def _pounds(text: str) -> Decimal:
    return Decimal(text)


def _utc(text: str, zone: ZoneInfo) -> datetime | None:
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
