"""Numbers, money and times as a reader of English or Korean expects them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

_NO_MINOR_UNIT = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())  # noqa: SIM905
_THOUSANDTHS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "KRW": "₩"}
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
UNKNOWN = "–"


def exponent(currency: str) -> int:
    """How many decimals the minor unit of an ISO 4217 currency has."""
    if currency in _NO_MINOR_UNIT:
        return 0
    return 3 if currency in _THOUSANDTHS else 2


def number(value: float | None, decimals: int = 0) -> str:
    """Grouped by thousands."""
    return UNKNOWN if value is None else f"{value:,.{decimals}f}".replace("-", "−")


def money(minor: int | None, currency: str) -> str:
    """An amount in minor units, exactly."""
    if minor is None:
        return UNKNOWN
    decimals = exponent(currency)
    whole, part = divmod(abs(minor), 10**decimals)
    amount = f"{whole:,}" + (f".{part:0{decimals}}" if decimals else "")
    symbol = _SYMBOLS.get(currency, f"{currency}\u00a0")
    return f"{'−' if minor < 0 else ''}{symbol}{amount}"


def major(minor: int, currency: str) -> float:
    """For the axis of a chart."""
    return float(minor / 10 ** exponent(currency))


def moment(value: str | None, language: str, zone: ZoneInfo, *, seconds: bool = False) -> str:
    """A time of an API in the business time zone; the year is left out where it is this one."""
    if not value:
        return UNKNOWN
    at = datetime.fromisoformat(value).astimezone(zone)
    clock = f"{at:%H:%M:%S}" if seconds else f"{at:%H:%M}"
    this_year = at.year == datetime.now(zone).year
    if language == "ko":
        return f"{'' if this_year else f'{at.year}. '}{at.month}. {at.day}. {clock}"
    return f"{at.day} {_MONTHS[at.month - 1]}{'' if this_year else f' {at.year}'}, {clock}"


def seconds_between(earlier: str, later: datetime) -> float:
    """From a time of an API to a time of here, never below zero: clocks differ."""
    return max(0.0, (later.astimezone(UTC) - datetime.fromisoformat(earlier)).total_seconds())


def duration(seconds: float | None, language: str) -> str:
    """Short: milliseconds, seconds, minutes."""
    if seconds is None:
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} {'초' if language == 'ko' else 's'}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}분 {rest}초" if language == "ko" else f"{minutes} min {rest} s"
