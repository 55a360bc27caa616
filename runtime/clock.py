"""Times as the contract writes them: aware, UTC, RFC 3339 with ``Z`` and always six decimals.

The fixed width matters: views keep times as these strings, so that they sort and compare as they read.
"""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """``2026-11-21T06:34:12.000000Z`` for an aware datetime of any zone."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
