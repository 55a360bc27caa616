"""The dashboard and the rules hang together; promtool, where it is, holds that they parse and behave."""

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.deployed import (
    DASHBOARD,
    OF_PROMETHEUS,
    ROOT,
    RULES,
    alerts,
    asked_for,
    expressions,
    panels,
    recorded,
    rules,
)

RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["What it means", "How to look", "What to do", "When to wake somebody"]
PROMTOOL = shutil.which("promtool")
if os.environ.get("CI") == "true" and PROMTOOL is None:
    raise RuntimeError("CI needs promtool: apt-get install prometheus")
with_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_a_page_says_what_it_is_how_to_look_what_to_do_and_when_to_wake_somebody(alert: dict[str, str]) -> None:
    page = (RUNBOOKS / f"{alert['alert']}.md").read_text()
    assert page.startswith(f"# {alert['alert']}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    assert re.search(r"```sh\n.+\n```", page, re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert (RUNBOOKS / link).is_file(), link


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_how_bad_what_and_how_much(alert: dict[str, dict[str, str]]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]
    assert "$value" in alert["annotations"]["description"]


def test_names_are_given_once() -> None:
    names = [rule.get("alert") or rule["record"] for rule in rules()]
    assert len(names) == len(set(names))


def test_expressions_use_only_what_is_recorded_or_scraped() -> None:
    own = {name for name in asked_for() if name.startswith("readside:")}
    assert own == recorded()
    assert asked_for().keys() - own - OF_PROMETHEUS
    for expression in expressions():
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")


def test_the_dashboard_asks_the_data_source_that_is_chosen() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource"]
    assert [panel["title"] for panel in panels() if panel["type"] == "row"] == [
        "The shop at a glance",
        "Command side",
        "Log and sequencing",
        "Projections",
        "Reactions",
        "Dead letters",
        "Drift",
        "Processes",
    ]
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    for target in (target for panel in panels() for target in panel.get("targets", ())):
        assert target["datasource"]["uid"] == "${datasource}"


@with_promtool
def test_the_rules_parse() -> None:
    _promtool("check", "rules", str(RULES))


@with_promtool
def test_the_alerts_behave() -> None:
    _promtool("test", "rules", str(RULES.with_name("rules.test.yml")))


@with_promtool
@pytest.mark.parametrize("name", ["prometheus.yml", "up.yml"])
def test_the_examples_of_what_to_scrape_parse(name: str) -> None:
    _promtool("check", "config", str(RULES.with_name(name)))


@with_promtool
def test_the_expressions_of_the_dashboard_parse(tmp_path_factory: pytest.TempPathFactory) -> None:
    as_rules = [{"record": "of:dashboard", "expr": one, "labels": {"n": str(n)}} for n, one in enumerate(expressions())]
    file = tmp_path_factory.mktemp("promtool") / "dashboard.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": as_rules}]}))
    _promtool("check", "rules", str(file))


def _promtool(*arguments: str) -> None:
    assert PROMTOOL is not None
    ended = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
