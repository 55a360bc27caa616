"""The how-to pages, followed word by word in a copy of the project, under another name; and their walks, as they stand.

Whoever follows a page has other names, and the example's files are there already. So everything that the pages quote is
written again with *notes* for *posts*: what a page leaves out is then missing, and the tests of the copy fail.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, wait_for
from tests.e2e.test_readme import json_documents
from tests.how_to import FOLLOWED, ROOT, Step, shown_files, steps, walk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "*.parquet")
_VERSIONS = Path("command/migrations/versions")


def test_a_context_and_a_view_that_are_made_as_the_pages_say_work(
    tmp_path: Path, postgres_server_url: str, mongo_server_url: str
) -> None:
    copy = tmp_path / "readside"
    shutil.copytree(ROOT, copy, ignore=_NOT_COPIED)
    for page in FOLLOWED:
        for step in steps(page):
            _follow(copy, step)
        for path in shown_files(page):
            _write(copy / _renamed(path), _renamed((ROOT / path).read_text()))
    databases = {"READSIDE_TEST_POSTGRES_URL": postgres_server_url, "READSIDE_TEST_MONGO_URL": mongo_server_url}

    _run(copy, sys.executable, "-m", "readside.event_catalog")
    _run(copy, str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    _run(
        copy,
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"),
        *(
            "tests/unit/notes",
            "tests/unit/views/test_notes.py",
            "tests/unit/test_contexts.py",
            "tests/unit/test_event_catalog.py",
        ),
        *("tests/unit/test_tokens_of_every_call.py", "tests/unit/test_openapi_documents.py"),
        *("tests/integration/test_notes.py", "tests/integration/test_migrations.py"),
        *("tests/integration/query/test_query_notes.py", "tests/integration/query/test_query_plans.py"),
        *("-k", "note or contract or linter or migrations or scan or example or every_module or page"),
        **databases,
    )


def test_the_walks_of_the_pages_work_as_written(tmp_path: Path) -> None:
    with Stack(tmp_path / "data", "--demo") as stack:
        run = stack.until_ready()
        # Whoever types this has read the printed block first; the demo shop comes a moment after it.
        wait_for(lambda: "orders loaded" in stack.log(), "the demo shop")
        script = (
            "".join(walk(page) for page in FOLLOWED)
            .replace("http://127.0.0.1:8001", f"http://127.0.0.1:{run.command_port}")
            .replace("http://127.0.0.1:8002", f"http://127.0.0.1:{run.query_port}")
            .replace(".venv/bin/readside", str(Path(sys.executable).with_name("readside")))
        )
        told = _run(tmp_path, "bash", "-euo", "pipefail", "-c", script, READSIDE_DATA_DIR=str(tmp_path / "data"))

    listed, verified = told.rsplit("}", 1)
    edited, events, page = json_documents(listed + "}")
    assert isinstance(edited, dict)
    assert isinstance(events, list)
    assert isinstance(page, dict)
    assert edited["version"] == 2
    assert [event["type"] for event in events] == ["PostWritten", "PostEdited"]
    [post] = page["items"]
    assert (post["title"], post["rating"], post["product_name"]) == ("Keeps warm for long", 5, "Cup with saucer")
    assert post["author"]["name"] == "Ann Archer"
    assert "posts" in verified


def _follow(copy: Path, step: Step) -> None:
    if step.verb == "new":
        code = _with_own_number(copy, step.code) if "migrations" in step.path else _renamed(step.code)
        name = f"{_next_number(copy)}_notes.py" if "migrations" in step.path else Path(_renamed(step.path)).name
        _write(copy / Path(_renamed(step.path)).parent / name, f"{code}\n")
        return
    file = copy / step.path
    between = ", " if step.verb == "in the list" else "\n"
    for piece in step.pieces:
        assert piece in file.read_text(), f"{step.path} has no such piece:\n{piece}"
        file.write_text(file.read_text().replace(piece, piece + between + _renamed(piece), 1))


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_relative_to(file.parents[1]) and "tests" in file.parts:
        (file.parent / "__init__.py").touch()
    assert not file.exists()
    file.write_text(content)


def _numbers(copy: Path) -> list[str]:
    return sorted(file.name[:4] for file in (copy / _VERSIONS).glob("[0-9]*.py"))


def _next_number(copy: Path) -> str:
    return f"{int(_numbers(copy)[-1]) + 1:04d}"


def _with_own_number(copy: Path, code: str) -> str:
    code = re.sub(r"^revision = .*$", f'revision = "{_next_number(copy)}"', code, flags=re.MULTILINE)
    code = re.sub(r"^down_revision = .*$", f'down_revision = "{_numbers(copy)[-1]}"', code, flags=re.MULTILINE)
    return _renamed(code)


def _renamed(text: str) -> str:
    """Posts become notes; the verb POST, and Postgres, stay what they are."""
    text = text.replace("posts", "notes").replace("Posts", "Notes").replace("post_", "note_")
    text = re.sub(r"Post(?!gres)", "Note", text)
    return re.sub(r"(?:(?<=_)|(?<![.\w]))post\b", "note", text)


def _run(folder: Path, *command: str, **environment: str) -> str:
    ended = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-5_000:]
    return ended.stdout
