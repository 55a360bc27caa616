"""What `readside up` prints once everything is ready."""

import shlex
import sys
from pathlib import Path

from readside.run_file import Run

DEFAULT_DATA_DIR = Path(".readside")


def banner(run: Run, data_dir: Path, databases: list[str], *, simulates_payments: bool) -> str:
    """URLs, documents, and how to get a token."""
    host = "127.0.0.1" if run.host in {"0.0.0.0", "::"} else run.host  # noqa: S104 - shown, not bound
    rows = [
        ("command API", run.command_port),
        ("query API", run.query_port),
        ("projector", run.projector_port),
    ]
    lines = ["", "Readside is ready.", ""]
    for name, port in rows:
        url = f"http://{_bracketed(host)}:{port}"
        lines.append(f"  {name:<12} {url:<24} documented at {url}/docs")
    if run.console_port is not None:
        lines.append(f"  {'console':<12} http://{_bracketed(host)}:{run.console_port}")
    if simulates_payments:
        gateway = run.payment_gateway_url or ""
        lines.append(f"  {'payments':<12} {gateway:<24} simulated: no money moves")
    logs = f"   (databases log to {' and '.join(f'{name}.log' for name in databases)} there)" if databases else ""
    lines += [f"  {'data':<12} {data_dir}{logs}", "", f"  {'a token':<12} {_token_command(data_dir)}"]
    return "\n".join([*lines, "", "Ctrl-C ends everything; the data stays.", ""])


def _token_command(data_dir: Path) -> str:
    script = Path(sys.executable).with_name("readside")
    shown = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    command = f"{shlex.quote(str(shown))} token --subject me --scope staff --scope operator"
    if data_dir == Path.cwd() / DEFAULT_DATA_DIR:
        return command
    return f"READSIDE_DATA_DIR={shlex.quote(str(data_dir))} {command}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
