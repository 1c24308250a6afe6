"""``cellwright explain``: what a rule demands, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, CallRefusedError
from orchestrator.cli.printing import say, say_json
from orchestrator.recipe.check import explain, rules


def run(
    codes: Annotated[
        list[str], typer.Argument(metavar="RULE...", help="Codes of rules, e.g. M010 C010")
    ],
    as_json: AsJson = False,
) -> None:
    """Say what each of these rules of `cellwright check` demands, why, and what to do.

    With --json one object a rule, one a line.
    """
    known = rules()
    for code in codes:
        if code.upper() not in known:
            raise CallRefusedError(
                f"explain {code!r}",
                why="there is no such rule",
                do_next=f"Name some of {', '.join(known)}",
            )
    asked = [known[code.upper()] for code in codes]
    if not as_json:
        say("\n\n".join(explain(rule.code).rstrip() for rule in asked))
        return
    for rule in asked:
        say_json(
            {
                "rule": rule.code,
                "severity": rule.severity,
                "demands": rule.demands,
                "because": rule.because,
                "do_next": rule.do_next,
            }
        )
