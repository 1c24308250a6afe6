"""S: who must look twice."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.kernel.acts import Claims, Contact, OnInterruption
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import View

RULES = (
    Rule(
        code="S010",
        severity="refuse",
        demands="Hand work on patient material is verified by a second person.",
        because="What hands did no instrument has seen.",
        do_next="Add p.confirm(..., second_person=True) to the same operation, after it.",
    ),
    Rule(
        code="S020",
        severity="refuse",
        demands="A step that opens the system is verified by a second person.",
        because="A breach can't be taken back.",
        do_next="Add p.confirm(..., second_person=True) to the same operation, after it.",
    ),
    Rule(
        code="S030",
        severity="ask",
        demands="A procedure that handles patient material has a second person somewhere.",
        because="One person's mistake is found by another.",
        do_next="Add a step with second_person=True, or approve with the reason.",
    ),
)


def look(view: View) -> Iterator[Problem]:
    """Yield critical steps that nobody verifies."""
    order = list(view.claims)
    for number, path in enumerate(order):
        claims = view.claims[path]
        if claims.second_person:
            continue
        critical = _is_critical_handwork(claims)
        if not critical and not claims.opens_system:
            continue
        operation = _around(path)
        if any(
            view.claims[later].second_person
            for later in order[number + 1 :]
            if _around(later) == operation
        ):
            continue
        code = "S020" if claims.opens_system else "S010"
        yield Problem(code, path, f"{view.steps[path].phase.kind} is verified by nobody.")
    consumed = [path for path in order if view.claims[path].consumes_patient_material]
    if consumed and not any(claims.second_person for claims in view.claims.values()):
        yield Problem("S030", consumed[0], "nothing in this procedure needs a second person.")


def _is_critical_handwork(claims: Claims) -> bool:
    """Return whether hands change patient material in a way only a person can tell."""
    changes = any(
        touch.how not in (Contact.HOLDS, Contact.MEASURES, Contact.MOVES)
        for touch in claims.touches
    )
    return (
        claims.attended
        and changes
        and claims.consumes_patient_material
        and claims.on_interruption is OnInterruption.HOLD
    )


def _around(path: str) -> str:
    """Return the path of what holds a step."""
    return path.rpartition("/")[0]
