"""``cellwright check``: what is wrong with protocol files, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, readable
from orchestrator.cli.printing import say, say_json, tell
from orchestrator.recipe.check import Checked, Finding, check_file


def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Protocol files")],
    cell: Annotated[
        Path | None,
        typer.Option(metavar="CELL", help="Also check against this process cell file"),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Say what is wrong with protocol files, and why. Nothing is run.

    Each finding is one line: file, line, rule, what is wrong and what to do. Exit status 1
    if there is any. With --json each is an object with rule, severity ('refuse': can't be
    approved; 'ask': may be, with a signed reason), file, line and text.
    """
    for file in files:
        readable(file, what="check")
    offers = None
    if cell is not None:
        from orchestrator.cli.cells import Offers, load

        offers = Offers(load(cell).config)
    found_any = False
    for file in files:
        checked = check_file(file, offers)
        for finding in checked.findings:
            say_json(finding.as_json()) if as_json else say(str(finding))
        if checked.findings:
            found_any = True
            tell(summary(file, checked))
        elif not as_json:
            say(f"{file}: nothing found wrong")
    return int(found_any)


def summary(file: Path, checked: Checked) -> str:
    """Return in one sentence what a check that found something comes to."""
    refusing = [one for one in checked.findings if one.severity == "refuse"]
    if checked.is_refused:
        worst = refusing or list(checked.findings)
        why = f"it can't be approved as it is: {_counted(worst)}"
    else:
        worst = list(checked.findings)
        why = f"it can be approved with a signed reason for {_counted(worst)}"
    first = worst[0]
    return (
        f"check {file}: {why}, the first at line {first.line} ({first.rule}). "
        f"Correct what each line says; `cellwright explain {first.rule}` gives the rule's reason."
    )


def _counted(findings: list[Finding]) -> str:
    return "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
