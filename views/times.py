"""Times as views keep them: the contract's form, so that an answer needs no conversion, and strings sort as times."""

from datetime import datetime


def rfc3339(moment: datetime) -> str:
    """``2026-11-21T06:34:12.000000Z``; the log's times are UTC already, so only the suffix has to change."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"
