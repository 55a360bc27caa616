"""The short torture: each kind of fault once, under load, and then nothing may be wrong.

Nothing here asserts how long anything takes. What `make torture` does at random for as long as it is told, this does
in a fixed order.
"""

from pathlib import Path

import pytest

from tests.torture.run import SHORT, torture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEED = 20_261_121


async def test_whatever_is_killed_paused_and_cut_off_every_answer_and_every_document_is_right(tmp_path: Path) -> None:
    lines: list[str] = []
    report, ledger = await torture(tmp_path, SHORT, seed=SEED, traders=4, small_disk=False, say=lines.append)

    assert report.wrong == [], "\n".join([*lines, report.summary(ledger)])
    assert sum(report.done.values()) == sum(len(names) for names in SHORT)
    # A load that was refused everything would prove nothing.
    assert ledger.placed > 20
