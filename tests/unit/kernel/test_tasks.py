"""How tasks are called is said in one file of the kernel, for whoever makes or knows them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from orchestrator.kernel.tasks import CLEARANCE, DOUBT, LATE, VERIFICATION

ROOT = Path(__file__).parents[3]
ENDINGS = (CLEARANCE, DOUBT, LATE, VERIFICATION)


def texts(file: Path) -> Iterator[str]:
    """Yield the literal texts of a file, those within f-strings too."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_other_file_says_how_a_tasks_name_ends() -> None:
    files = [one for part in ("orchestrator", "hw_mocks") for one in (ROOT / part).rglob("*.py")]
    said = {
        str(file.relative_to(ROOT)): text
        for file in files
        for text in texts(file)
        if text.endswith(ENDINGS)
    }
    assert set(said) == {"orchestrator/kernel/tasks.py"}, said
