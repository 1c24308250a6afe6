"""R: what may be done after an interruption."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.kernel.acts import Contact, OnInterruption, Quieten
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import MOVES_CONTENTS, View

RULES = (
    Rule(
        code="R010",
        severity="refuse",
        demands="Every phase claims what may be done after it was interrupted.",
        because="After a power cut nobody is left to remember what was meant.",
        do_next="Use a kind of phase that claims it.",
    ),
    Rule(
        code="R020",
        severity="refuse",
        demands="Only what twice equals once, and consumes nothing of the patient, is repeated.",
        because="A dose given again is a double dose.",
        do_next="Use a kind of phase that goes on with the rest, or holds.",
    ),
    Rule(
        code="R030",
        severity="refuse",
        demands="What moves liquid is brought to rest while the software decides.",
        because="A pump left running goes on pumping.",
        do_next="Use a kind of phase that halts.",
    ),
)


def look(view: View) -> Iterator[Problem]:
    """Yield where an interruption would leave doubt."""
    for path in view.silent:
        kind = view.steps[path].phase.kind
        yield Problem("R010", path, f"{kind} claims nothing for these parameters.")
    for path, claims in view.claims.items():
        moving = [touch for touch in claims.touches if touch.how in MOVES_CONTENTS]
        once = claims.consumes_patient_material or any(
            touch.how in (*MOVES_CONTENTS, Contact.JOINS, Contact.PARTS) for touch in claims.touches
        )
        if claims.on_interruption is OnInterruption.REPEAT and once:
            yield Problem("R020", path, "would be repeated after an interruption.")
        pumped = any(capability == "fluid_transfer" for _, capability in claims.needs)
        if moving and pumped and claims.quieten is not Quieten.HALT:
            yield Problem("R030", path, f"would {claims.quieten.value} while it is in doubt.")
