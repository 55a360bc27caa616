"""What `deploy/` asks of Prometheus: its rules, the dashboard, and the metrics that both name."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "readside.json"
OF_PROMETHEUS = {"up", "ALERTS"}
_NAME = re.compile(r"(?<![\w:])(up|ALERTS|(?:readside|process)[_:][\w:]+)(?![\w:-])(?:\{([^}]*)\})?")


def rules() -> list[dict[str, Any]]:
    """Every rule of every group."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Those that are alerts."""
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """The names that rules record."""
    return {rule["record"] for rule in rules() if "record" in rule}


def panels() -> list[dict[str, Any]]:
    """Every panel of the dashboard, rows too."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    """Every expression of rules and dashboard."""
    return [rule["expr"] for rule in rules()] + [
        target["expr"] for panel in panels() for target in panel.get("targets", ())
    ]


def asked_for() -> dict[str, set[str]]:
    """Each metric that an expression names, with the labels by which it chooses among its series."""
    found: dict[str, set[str]] = {}
    for expression in expressions():
        unquoted = re.sub(r'"[^"]*"', '""', expression)
        for name, chosen in _NAME.findall(unquoted):
            found.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", chosen))
    return found
