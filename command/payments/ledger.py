"""The simulated gateway's ledger: one SQLite file, shared by every process of a data directory, safe from any kill.

One charge per payment, one refund per charge, whatever the key. A payment that was voided is charged no more.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from command.payments.gateway import Charge, Refund
from runtime.clock import now
from runtime.ids import new_id

FILE = "payment-simulator.sqlite"
_BUSY_SECONDS = 10.0

_TABLES = """
    CREATE TABLE IF NOT EXISTS charges (
        payment_id TEXT PRIMARY KEY,
        charge_id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL UNIQUE,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        card_token TEXT,
        charged_at TEXT NOT NULL,
        refunded_at TEXT
    ) STRICT;
    CREATE TABLE IF NOT EXISTS voided (payment_id TEXT PRIMARY KEY) STRICT;
    CREATE TABLE IF NOT EXISTS counted (what TEXT PRIMARY KEY, times INTEGER NOT NULL) STRICT;
"""


class Voided(Exception):
    """The payment was voided: it is charged no more."""


class KeyReused(Exception):
    """The key belongs to another payment, or the payment is one of another amount."""


class NoSuchCharge(Exception):
    """There is no such charge, or it is one of another amount."""


@dataclass(frozen=True, slots=True)
class Booked:
    """A charge, whole or refunded whole; ``is_new`` where it was booked by this very call."""

    charge_id: str
    payment_id: str
    amount: int
    currency: str
    charged_at: datetime
    refunded_at: datetime | None
    is_new: bool = False


class Ledger:
    """Made when it is first needed. Its methods block, and may be called from any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / FILE
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()

    def close(self) -> None:
        """Whatever was booked is in the file already."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def charge(self, charge: Charge, key: str) -> Booked:
        """Book it, or find it booked. Raises `Voided`, `KeyReused`."""
        with self._transaction() as connection:
            booked = _charge_of(connection, charge.payment_id)
            if booked is not None and (booked.amount, booked.currency) != (charge.amount, charge.currency):
                raise KeyReused
            if _is_voided(connection, charge.payment_id):
                raise Voided
            if booked is not None:
                return booked
            fresh = (charge.payment_id, new_id(), key, charge.amount, charge.currency, charge.card_token, _stamp())
            try:
                connection.execute("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", fresh)
            except sqlite3.IntegrityError:
                raise KeyReused from None
            return _booked(_row(connection, charge.payment_id), is_new=True)

    def refund(self, refund: Refund) -> Booked:
        """Book the refund of a whole charge, or find it booked. Raises `NoSuchCharge`."""
        with self._transaction() as connection:
            booked = _charge_of(connection, refund.payment_id)
            if booked is None or (booked.charge_id, booked.amount) != (refund.charge_id, refund.amount):
                raise NoSuchCharge
            return _refunded(connection, refund.payment_id)

    def void(self, payment_id: str) -> Booked | None:
        """Refund the payment's charge if there is one, and let no other come."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO voided VALUES (?)", (payment_id,))
            return _refunded(connection, payment_id) if _charge_of(connection, payment_id) else None

    def count(self, what: str) -> int:
        """How often this was counted, this time included."""
        with self._transaction() as connection:
            statement = (
                "INSERT INTO counted VALUES (?, 1) ON CONFLICT (what) DO UPDATE SET times = times + 1 RETURNING times"
            )
            [times] = connection.execute(statement, (what,)).fetchone()
            return int(times)

    def card_token_of(self, payment_id: str) -> str | None:
        """The card that was charged."""
        with self._transaction() as connection:
            found = connection.execute("SELECT card_token FROM charges WHERE payment_id = ?", (payment_id,)).fetchone()
            return found[0] if found else None

    def charges(self, payment_id: str | None = None, *, limit: int) -> Sequence[Booked]:
        """The latest charges, of one payment or of all, newest first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT * FROM charges WHERE payment_id = coalesce(?, payment_id) ORDER BY charge_id DESC LIMIT ?",
                (payment_id, limit),
            )
            return [_booked(row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                self._connection = _opened(self._file)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _opened(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    with suppress(sqlite3.OperationalError):  # busy: another process is just doing so, and it is done once per file
        connection.execute("PRAGMA journal_mode = WAL")
    # What a killed process has written stays with the kernel: only a power failure could take it.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_TABLES)
    return connection


def _row(connection: sqlite3.Connection, payment_id: str) -> Any:
    return connection.execute("SELECT * FROM charges WHERE payment_id = ?", (payment_id,)).fetchone()


def _charge_of(connection: sqlite3.Connection, payment_id: str) -> Booked | None:
    row = _row(connection, payment_id)
    return None if row is None else _booked(row)


def _is_voided(connection: sqlite3.Connection, payment_id: str) -> bool:
    return connection.execute("SELECT 1 FROM voided WHERE payment_id = ?", (payment_id,)).fetchone() is not None


def _refunded(connection: sqlite3.Connection, payment_id: str) -> Booked:
    statement = "UPDATE charges SET refunded_at = ? WHERE payment_id = ? AND refunded_at IS NULL"
    connection.execute(statement, (_stamp(), payment_id))
    return _booked(_row(connection, payment_id))


def _booked(row: Any, *, is_new: bool = False) -> Booked:
    return Booked(
        charge_id=row["charge_id"],
        payment_id=row["payment_id"],
        amount=row["amount"],
        currency=row["currency"],
        charged_at=datetime.fromisoformat(row["charged_at"]),
        refunded_at=datetime.fromisoformat(row["refunded_at"]) if row["refunded_at"] else None,
        is_new=is_new,
    )


def _stamp() -> str:
    return now().astimezone(UTC).isoformat()
