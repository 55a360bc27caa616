"""The reaction of the how-to works as written, down to the line in its file."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.catalog import StockAdjusted
from events.reaction import Ports
from runtime.settings import Settings
from tests.unit.views.given import happened, numbered

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "add-a-reaction.md"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page tells to write, in its order, by the name of the module."""
    modules: dict[str, Any] = {}
    for path, source in re.findall(r"\*\*`([\w/]+)\.py`\*\*:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        name = path.replace("/", ".")
        modules[name] = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, modules[name])
        exec(compile(source, f"{path}.py", "exec"), modules[name].__dict__)  # noqa: S102  (our own documentation)
    return modules


async def test_the_test_of_the_how_to_passes(written: dict[str, Any]) -> None:
    [proof] = [proof for name, proof in vars(written["test_stock_report"]).items() if name.startswith("test_")]
    await proof()


async def test_the_warehouse_of_the_how_to_has_one_line_however_often_the_handler_is_called(
    written: dict[str, Any], tmp_path: Path
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)  # type: ignore[call-arg]  # a developer's .env has no say
    [reaction] = written["command.catalog.reactions"].reactions
    [envelope] = numbered(happened(StockAdjusted(delta=-3, reason="broken")))

    async with written["command.catalog.ports"].ports(settings) as made:
        for _ in range(2):
            await reaction.answers[StockAdjusted].handler(envelope, Ports(made))

    [line] = (tmp_path / "outside" / "warehouse.ndjson").read_bytes().splitlines()
    assert msgspec.json.decode(line) == {"event_id": envelope.event_id, "product_id": "p-1", "delta": -3}
