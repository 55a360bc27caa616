"""The script of a lively day: who buys what, and what becomes of it. Pure: the same seed gives the same day."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Fate = Literal["delivered", "shipped", "paid", "by points", "declined", "canceled unpaid", "canceled paid", "reviewed"]

_WEIGHTS: dict[Fate, int] = {
    "delivered": 25,
    "shipped": 15,
    "paid": 15,
    "by points": 12,
    "declined": 10,
    "canceled unpaid": 8,
    "canceled paid": 7,
    "reviewed": 8,
}
PAUSES_SECONDS = (0.2, 1.5)
"""Between the steps of an order: people are no machines."""


@dataclass(frozen=True, slots=True)
class Story:
    """One order. ``buyer`` and the products are numbers, to be counted round the members and products there are."""

    number: int
    fate: Fate
    buyer: int
    lines: tuple[tuple[int, int], ...]
    """Product and quantity; no product twice."""
    pauses: tuple[float, ...]
    rating: int

    @property
    def card_token(self) -> str:
        """What the simulated gateway does as the story wants."""
        return "tok_declined" if self.fate == "declined" else "tok_visa"


def day(seed: int, *, products: int) -> Iterator[Story]:
    """Stories without end, over so many products."""
    chance = random.Random(seed)  # noqa: S311 - a script, no secret
    fates, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    number = 0
    while True:
        chosen = chance.sample(range(products), k=min(products, chance.randint(1, 3)))
        yield Story(
            number=number,
            fate=chance.choices(fates, weights)[0],
            buyer=chance.randrange(1_000),
            lines=tuple((product, chance.randint(1, 3)) for product in chosen),
            pauses=tuple(chance.uniform(*PAUSES_SECONDS) for _ in range(4)),
            rating=chance.randint(3, 5),
        )
        number += 1
