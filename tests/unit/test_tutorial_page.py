"""``docs/tutorial/first-protocol.md``: its protocol and what it says that commands print.

Method: the page's own protocol is written to a file and put through the page's own steps.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial" / "first-protocol.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PRINTED = [text for language, text in BLOCKS if not language]
(PROTOCOL,) = [text for language, text in BLOCKS if language == "python"]


def test_each_step_of_the_page_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = Path("my_first.py"), Path("my_second.py")

    def prints(status: int, *call: str) -> None:
        assert main(call) == status
        assert capsys.readouterr().out in PRINTED, call

    first.write_text(PROTOCOL, "utf-8")
    prints(1, "check", "my_first.py")
    prints(0, "explain", "M010")
    first.write_text(PROTOCOL.replace("60 * mL", "40 * mL"), "utf-8")
    prints(0, "check", "my_first.py")
    prints(0, "read", "my_first.py")
    prints(
        0, "check", "my_first.py", "--cell", str(ROOT / "protocols" / "cells" / "reference.toml")
    )
    assert main(["simulate", "my_first.py"]) == 0
    told = capsys.readouterr().out
    (page,) = [text for text in PRINTED if text.startswith("Batch B-001: ")]
    assert page in told
    assert "Nothing of it is kept." in told
    assert "Clocks" not in told, "it has none"
    assert "Yields" not in told, "nothing is counted or stored"
    second.write_text(first.read_text("utf-8").replace("200 * mL", "250 * mL"), "utf-8")
    prints(1, "diff", "my_first.py", "my_second.py")
