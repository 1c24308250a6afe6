"""``cellwright explain``: what a rule demands, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, CallRefusedError
from orchestrator.cli.printing import say, say_json
from orchestrator.recipe.check import explain, rules


def run(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A rule's code, e.g. M010")],
    as_json: AsJson = False,
) -> None:
    """Say what a rule of `cellwright check` demands, why, and what to do."""
    known = rules().get(rule.upper())
    if known is None:
        raise CallRefusedError(
            f"explain {rule!r}",
            why="there is no such rule",
            do_next=f"Name one of {', '.join(rules())}",
        )
    if as_json:
        say_json(
            {
                "rule": known.code,
                "severity": known.severity,
                "demands": known.demands,
                "because": known.because,
                "do_next": known.do_next,
            }
        )
    else:
        say(explain(rule).rstrip())
