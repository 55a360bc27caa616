"""Sharing a discount out over an order's lines, so that sums by product, by category and in total agree."""

from collections.abc import Sequence

import msgspec

from events.ordering import Line


def shared_out(discount_amount: int, lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines, each with its share in proportion to its amount, to the minor unit (largest remainder)."""
    if discount_amount == 0:
        return tuple(lines)
    total = sum(line.amount for line in lines)
    shares = [divmod(discount_amount * line.amount, total) for line in lines]
    missing = discount_amount - sum(share for share, _ in shares)
    by_remainder = sorted(range(len(lines)), key=lambda at: (-shares[at][1], at))
    rounded_up = set(by_remainder[:missing])
    return tuple(
        msgspec.structs.replace(line, discount=shares[at][0] + (at in rounded_up)) for at, line in enumerate(lines)
    )
