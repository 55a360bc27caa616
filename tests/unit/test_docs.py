"""What the documentation says is checked against the code that it is about."""

import json
import re
import sys
import types
from pathlib import Path

import msgspec
import pytest

from command import contexts
from command.data_platform.service import PaidOrder
from command.edge import slug_of
from command.errors import CommandRefused, InvalidCommand, NotAllowed, RuleBroken
from command.shipping.service import AddressChange
from runtime.settings import Settings
from tests.how_to import FOLLOWED, ROOT, Step, steps

DOCS = Path(__file__).parents[2] / "docs"
_ABSTRACT = {RuleBroken, InvalidCommand, NotAllowed}
_ROUTES = list(contexts.brought("routes"))  # imports every context, and so every refusal


def _refusals(base: type[CommandRefused] = CommandRefused) -> set[type[CommandRefused]]:
    return {cls for found in base.__subclasses__() for cls in ({found} | _refusals(found))} - _ABSTRACT


def _slugs_in_source() -> set[str]:
    root = DOCS.parent
    sources = [
        file.read_text()
        for room in ("command", "query", "runtime", "projector")
        for file in (root / room).rglob("*.py")
    ]
    return {slug for source in sources for slug in re.findall(r'Problem\(\s*\d+,\s*"([a-z-]+)"', source)}


def test_every_slug_is_documented_and_every_documented_slug_exists() -> None:
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "errors.md").read_text(), re.MULTILINE))
    problems = (DOCS.parent / "runtime" / "problems.py").read_text()
    by_status = set(re.findall(r'\d{3}: "([a-z-]+)"', problems))
    assert documented == {slug_of(refusal) for refusal in _refusals()} | _slugs_in_source() | by_status


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"`(READSIDE_[A-Z_]+)`", (DOCS / "settings.md").read_text()))
    assert documented == {f"READSIDE_{name.upper()}" for name in Settings.model_fields}


def test_the_view_of_the_how_to_works_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "how-to" / "add-a-view.md").read_text()
    view, test = re.findall(r"```python\n(\"\"\"Product demand.*?)```", page, re.DOTALL)
    module, tests = types.ModuleType("views.product_demand"), types.ModuleType("test_product_demand")
    exec(compile(view, "product_demand.py", "exec"), module.__dict__)  # noqa: S102  (our own documentation)
    monkeypatch.setitem(sys.modules, "views.product_demand", module)
    exec(compile(test, "test_product_demand.py", "exec"), tests.__dict__)  # noqa: S102
    tests.test_every_line_of_a_paid_order_counts()


@pytest.mark.parametrize("step", [step for page in FOLLOWED for step in steps(page)], ids=lambda step: step.path)
def test_what_the_how_to_pages_quote_is_what_stands_there(step: Step) -> None:
    file = (ROOT / step.path).read_text()
    if step.verb == "new":
        assert file == f"{step.code}\n"
    assert [piece for piece in step.pieces if piece not in file] == []


@pytest.mark.parametrize("told", [AddressChange, PaidOrder])
def test_what_others_are_told_is_documented_field_by_field(told: type[msgspec.Struct]) -> None:
    page = (DOCS / "how-to" / "tell-other-services.md").read_text()
    [example] = re.findall(rf"```json {told.__name__}\n(.*?)```", page, re.DOTALL)
    assert json.loads(msgspec.json.encode(msgspec.json.decode(example, type=told))) == json.loads(example)
    assert list(json.loads(example)) == [field.encode_name for field in msgspec.structs.fields(told)]


@pytest.mark.parametrize("file", [DOCS.parent / "README.md", *DOCS.rglob("*.md")], ids=lambda file: file.name)
def test_links_between_pages_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text())
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_the_tests_that_the_documentation_names_exist() -> None:
    named = {name for page in DOCS.rglob("*.md") for name in re.findall(r"`(tests/[\w/.]+)`", page.read_text())}
    assert named
    assert [name for name in sorted(named) if not (DOCS.parent / name).exists()] == []
