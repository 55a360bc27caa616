"""What an import leaves behind for people: the file of what was rejected, and the lines that it ends with."""

import csv
from pathlib import Path

from readside.importing import Imported
from readside.online_retail import Rejected, RetailFile
from runtime.errors import ReadsideError


class RejectedFileError(ReadsideError):
    """The file for rejected lines cannot be written."""


def write_rejected(file: Path, rejected: tuple[Rejected, ...], *, not_over: Path) -> None:
    """Line number, invoice and reason of every rejected line. Raises `RejectedFileError`."""
    if file.exists() and file.samefile(not_over):
        raise RejectedFileError(f"{file} is the file to import; rejected lines cannot go there.")
    try:
        with file.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow(("line", "invoice", "reason"))
            writer.writerows((one.line_number, one.invoice, one.reason) for one in rejected)
    except OSError as error:
        raise RejectedFileError(
            f"{file} cannot be written ({error.strerror}); --rejected FILE names another place for rejected lines."
        ) from None


def summary(retail_file: RetailFile, imported: Imported, rejected_file: Path, seconds: float) -> list[str]:
    """One line per fact; ``seconds`` are those of the whole run, with reading the file."""
    rate = imported.orders / seconds if seconds else 0.0
    return [
        f"accepted orders:   {imported.orders:,} ({imported.orders_before:,} more were there already)",
        f"cancellations:     {imported.cancellations:,} ({imported.cancellations_before:,} more were there already)",
        f"rejected lines:    {len(retail_file.rejected):,}, listed in {rejected_file}",
        f"rejected invoices: {retail_file.rejected_invoices:,}, and {retail_file.rejected_credit_notes:,} credit notes",
        f"new:               {imported.products:,} products, {imported.members:,} members",
        f"speed:             {rate:,.0f} orders a second ({seconds:.1f} s with reading the file)",
    ]
