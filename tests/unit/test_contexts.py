"""What is found by itself, and the one list that import-linter needs in writing."""

import tomllib
from pathlib import Path

from query.resources import routers

ROOT = Path(__file__).parents[2]


def test_import_linter_watches_every_context() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [contract] = [one for one in settings["contracts"] if one["name"].startswith("Bounded contexts")]

    assert {f"command.{file.parent.name}" for file in (ROOT / "command").glob("*/model.py")} <= set(contract["modules"])


def test_every_module_of_the_read_side_with_a_router_is_served() -> None:
    written = {file.stem for file in (ROOT / "query").glob("*.py") if "\nrouter = APIRouter(" in file.read_text()}

    assert {route.endpoint.__module__ for router in routers() for route in router.routes} == {  # type: ignore[attr-defined]
        f"query.{name}" for name in written
    }
