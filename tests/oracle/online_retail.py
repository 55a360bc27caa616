"""What the Online Retail file amounts to, computed with csv, Decimal and dicts alone.

Shares no code with the product on purpose: a rule misread there is not misread here in the same place. Written from
the rules of the import, not from its code. Days are those of the file's own dates: it is compared with statistics
of the same time zone.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path


@dataclass
class Sales:
    """Money in pennies."""

    orders: set[str] = field(default_factory=set)
    gross: int = 0
    units: int = 0
    canceled_orders: set[str] = field(default_factory=set)
    canceled: int = 0

    @property
    def net(self) -> int:
        """What is left after cancellations."""
        return self.gross - self.canceled

    def figures(self) -> dict[str, int]:
        """As the query API names them."""
        return {
            "paid_orders": len(self.orders),
            "gross_sales": self.gross,
            "units": self.units,
            "canceled_orders": len(self.canceled_orders),
            "canceled_amount": self.canceled,
            "net_sales": self.net,
        }


@dataclass
class Expected:
    """Everything counted, by day, by product, by both, and in total."""

    total: Sales
    by_day: dict[date, Sales]
    by_product: dict[str, Sales]
    by_day_and_product: dict[tuple[date, str], Sales]
    canceled_by: dict[str, str]
    """Credit note by the order that it canceled."""
    rejected_lines: set[int]


def expected_of(file: Path) -> Expected:
    """Count the file."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        table = [{**row, "line": number} for number, row in enumerate(csv.DictReader(lines), 2)]
    invoices: dict[str, list[dict[str, object]]] = defaultdict(list)
    for row in table:
        invoices[str(row["InvoiceNo"])].append(row)

    when = {}
    for number, rows in invoices.items():
        dates = [moment for moment in (_moment(row) for row in rows) if moment is not None]
        if dates:
            when[number] = dates[0]
    orders: dict[str, list[dict[str, object]]] = {}
    canceled_by: dict[str, str] = {}
    for number in sorted(when, key=lambda number: when[number]):
        rows = invoices[number]
        if number.startswith("C"):
            order = _canceled_order(rows, orders, canceled_by)
            if order is not None:
                canceled_by[order] = number
        elif all(character in "0123456789" for character in number):
            good = [row for row in rows if _is_good(row)]
            if good:
                orders[number] = good
    taken = {row["line"] for rows in orders.values() for row in rows}
    taken |= {row["line"] for note in canceled_by.values() for row in invoices[note]}
    return _counted(orders, canceled_by, when, {row["line"] for row in table} - taken)


def _counted(
    orders: dict[str, list[dict[str, object]]],
    canceled_by: dict[str, str],
    when: dict[str, datetime],
    rejected: set[object],
) -> Expected:
    total = Sales()
    by_day: dict[date, Sales] = defaultdict(Sales)
    by_product: dict[str, Sales] = defaultdict(Sales)
    by_both: dict[tuple[date, str], Sales] = defaultdict(Sales)
    for number, rows in orders.items():
        day = when[number].date()
        for row in rows:
            code = str(row["StockCode"]).strip()
            for sales in (total, by_day[day], by_product[code], by_both[day, code]):
                sales.orders.add(number)
                sales.gross += _pennies(row) * _quantity(row)
                sales.units += _quantity(row)
    for number, note in canceled_by.items():
        day = when[note].date()
        for row in orders[number]:
            code = str(row["StockCode"]).strip()
            for sales in (total, by_day[day], by_product[code], by_both[day, code]):
                sales.canceled_orders.add(number)
                sales.canceled += _pennies(row) * _quantity(row)
    lines = {line for line in rejected if isinstance(line, int)}
    return Expected(total, dict(by_day), dict(by_product), dict(by_both), canceled_by, lines)


def _canceled_order(
    rows: list[dict[str, object]], orders: dict[str, list[dict[str, object]]], canceled_by: dict[str, str]
) -> str | None:
    returned: dict[tuple[str, int], int] = defaultdict(int)
    for row in rows:
        if not _is_good(row, sign=-1):
            return None
        returned[str(row["StockCode"]).strip(), _pennies(row)] -= _quantity(row)
    for number in reversed(orders):
        if number in canceled_by or orders[number][0]["CustomerID"] != rows[0]["CustomerID"]:
            continue
        held: dict[tuple[str, int], int] = defaultdict(int)
        for row in orders[number]:
            held[str(row["StockCode"]).strip(), _pennies(row)] += _quantity(row)
        if held == returned:
            return number
    return None


def _is_good(row: dict[str, object], *, sign: int = 1) -> bool:
    if len(row) != 9 or None in row or None in row.values() or not str(row["StockCode"]).strip():
        return False
    try:
        return _quantity(row) * sign > 0 and Decimal(str(row["UnitPrice"])) > 0 and _moment(row) is not None
    except (ValueError, InvalidOperation):
        return False


def _quantity(row: dict[str, object]) -> int:
    return int(str(row["Quantity"]))


def _pennies(row: dict[str, object]) -> int:
    return int(Decimal(str(row["UnitPrice"])).quantize(Decimal("0.01"), ROUND_HALF_UP).scaleb(2))


def _moment(row: dict[str, object]) -> datetime | None:
    try:
        return datetime.strptime(str(row["InvoiceDate"]), "%d/%m/%Y %H:%M")  # noqa: DTZ007  (local, as in the file)
    except ValueError:
        return None
