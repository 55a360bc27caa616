"""The reaction of the how-to works as written."""

import re
import types
from pathlib import Path
from typing import Any

from events.catalog import StockAdjusted
from events.reaction import Ports
from tests.unit.views.given import happened, numbered

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "add-a-reaction.md"


class Booked:
    """A warehouse that books each key once."""

    def __init__(self) -> None:
        self.corrections: dict[str, tuple[str, int]] = {}

    async def correct(self, product_id: str, delta: int, *, key: str) -> None:
        """Book it."""
        self.corrections.setdefault(key, (product_id, delta))


async def test_the_reaction_of_the_how_to_tells_the_warehouse_once_however_often_it_is_called() -> None:
    [source] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    module: Any = types.ModuleType("reactions")
    exec(compile(source, "reactions.py", "exec"), module.__dict__)  # noqa: S102  (our own documentation)
    [reaction], warehouse = module.reactions, Booked()
    [envelope] = numbered(happened(StockAdjusted(delta=-3, reason="broken")))
    for _ in range(2):
        await reaction.answers[StockAdjusted].handler(envelope, Ports({module.Warehouse: warehouse}))
    assert list(warehouse.corrections.values()) == [("p-1", -3)]
