"""The page on the journal's format is true: its script verifies a journal, and finds damage."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.journal.builders import BATCH, Noted, Poured, a_journal, opened

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "journal.md"


def by_the_page(folder: Path, journal: Path) -> subprocess.CompletedProcess[str]:
    """Return what the page's own script says of the journal."""
    script = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert script is not None
    (folder / "script.py").write_text(script[1], encoding="utf-8")
    command = [sys.executable, "-I", str(folder / "script.py"), str(journal)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.requirement("REC-05", "REC-11")
async def test_the_script_of_the_page_finds_the_same_root_and_the_same_damage(
    tmp_path: Path,
) -> None:
    with a_journal(tmp_path) as journal:
        await journal.append_all(BATCH, [Poured(number=number) for number in range(13)])
        await journal.checkpoint()
        await journal.append("host", Noted(text='Grüße, "world" \\ €'))
        root = journal.root.hex()
    said = by_the_page(tmp_path, journal.path)
    assert (said.stdout, said.stderr) == (f"14 {root}\n", "")

    opened(journal.path).execute("UPDATE events SET boottime = boottime + 1 WHERE seq = 9")
    assert "event 9 was changed" in by_the_page(tmp_path, journal.path).stderr
