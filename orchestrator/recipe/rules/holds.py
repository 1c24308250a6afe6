"""H: how long material may wait, and in which state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from orchestrator.kernel.quantities import Duration
from orchestrator.recipe.model import Keep, Lag, Moment, PatientMaterial, Step, Tier
from orchestrator.recipe.rules.flow import Times
from orchestrator.recipe.rules.rule import Problem, Rule
from orchestrator.recipe.rules.view import View

_WRITE_SOURCE: Final = "; write source=... (a citation or 'set by site')"

RULES = (
    Rule(
        code="H010",
        severity="refuse",
        demands="Every step says how long it may be held.",
        because="A hold without a limit is material forgotten.",
        do_next="Write longest_hold=... in the step, or for all of its operation.",
    ),
    Rule(
        code="H020",
        severity="refuse",
        demands="Every kind of phase names a state in which its product is safe.",
        because="A hold must bring the material there.",
        do_next="Use a kind of phase that names one.",
    ),
    Rule(
        code="H030",
        severity="refuse",
        demands="A limit that blocks is kept even on the slowest way.",
        because="It would stop every batch that is merely slow.",
        do_next="Lengthen the limit with its source, or shorten what lies between.",
    ),
    Rule(
        code="H040",
        severity="refuse",
        demands="A clock that a step starts (DMSO, enzyme) has a limit, and a step that ends it.",
        because="The clock exists since the material suffers from then on.",
        do_next="Write p.lag(...) from the step that starts it to the one that ends it.",
    ),
    Rule(
        code="H050",
        severity="refuse",
        demands="A limit has a source and both its moments, in the order of the procedure.",
        because="No time limit is a constant of the software: someone has set it, for a reason.",
        do_next="Write source=... (a citation or 'set by site'), and moments that follow.",
    ),
    Rule(
        code="H060",
        severity="ask",
        demands="Patient material says how old it may be when it is first used.",
        because="Fresh material degrades on its way.",
        do_next="Write longest_since_collection=... where it is declared.",
    ),
    Rule(
        code="H070",
        severity="ask",
        demands="A limit that warns or alarms is kept on the slowest way.",
        because="An alarm that comes in each batch is soon not heard.",
        do_next="Lengthen the limit with its source, or shorten what lies between.",
    ),
)


def look(view: View) -> Iterator[Problem]:
    """Yield where time may run out."""
    nothing = Duration.of_base(0)
    for path, claims in view.claims.items():
        if min(view.steps[path].phase.longest_hold, claims.longest_safe_hold) <= nothing:
            yield Problem("H010", path, f"{view.told(path)} says no longest hold.")
        if not claims.product_safe_state.strip():
            yield Problem("H020", path, f"{view.told(path)} names no product-safe state.")
    times = Times(view)
    for lag in view.recipe.lags:
        yield from _lag(view, times, lag)
    for path, node in view.recipe.nodes.items():
        if isinstance(node, Keep) and not node.source.strip():
            yield Problem("H050", path, f"{node.name!r} has no source{_WRITE_SOURCE}.")
    yield from _clocks(view, times)
    for material in view.recipe.materials:
        if isinstance(material, PatientMaterial) and material.longest_since_collection is None:
            yield Problem(
                "H060",
                f"patient-material:{material.name}",
                f"{material.name!r} says not how old it may be.",
            )


def _moment(view: View, moment: Moment) -> str:
    """Return a moment as the author knows it: by the step's number, or the part's name."""
    node = view.recipe.nodes.get(moment.path)
    if isinstance(node, Step):
        return f"the {moment.edge} of {view.told(moment.path)}"
    return f"the {moment.edge} of {getattr(node, 'name', moment.path)!r}"


def _lag(view: View, times: Times, lag: Lag) -> Iterator[Problem]:
    where = f"lag:{lag.name}"
    if not lag.source.strip():
        yield Problem("H050", where, f"{lag.name!r} has no source{_WRITE_SOURCE}.")
    if lag.minimum is None and lag.maximum is None:
        yield Problem("H050", where, f"{lag.name!r} says neither minimum nor maximum; write one.")
    if lag.minimum is not None and lag.maximum is not None and lag.minimum > lag.maximum:
        yield Problem(
            "H050",
            where,
            f"{lag.name!r}: {lag.minimum} at least and {lag.maximum} at most; swap them.",
        )
    begins, ends = lag.from_event, lag.to_event
    missing = [moment.path for moment in (begins, ends) if moment.path not in view.recipe.nodes]
    span = None if missing else times.between(begins, ends)
    if span is None:
        swapped = not missing and times.between(ends, begins) is not None
        yield Problem(
            "H050",
            where,
            f"{lag.name!r}: {_moment(view, ends)} doesn't follow {_moment(view, begins)}; "
            f"{'swap from_ and to' if swapped else 'choose moments that follow each other'}.",
        )
        return
    if lag.maximum is not None and span.highest > lag.maximum:
        code = "H030" if lag.tier is Tier.BLOCK else "H070"
        yield Problem(
            code,
            where,
            f"{lag.name!r} allows {lag.maximum.in_words()}; the steps between may take "
            f"{span.highest.in_words()}.",
        )


def _clocks(view: View, times: Times) -> Iterator[Problem]:
    order = list(view.claims)
    for number, path in enumerate(order):
        claims = view.claims[path]
        for clock in claims.starts_clocks:
            if clock in claims.ends_clocks:
                continue
            ending = [
                later
                for later in order[number + 1 :]
                if clock in view.claims[later].ends_clocks
                and times.between(Moment(path=path, edge="start"), Moment(path=later, edge="start"))
            ]
            if not ending:
                yield Problem("H040", path, f"starts the clock {clock!r}, and no step ends it.")
            elif not any(_covers(lag, path, ending) for lag in view.recipe.lags):
                yield Problem(
                    "H040", path, f"starts the clock {clock!r}, which no p.lag(...) limits."
                )


def _covers(lag: Lag, start: str, ending: list[str]) -> bool:
    """Return whether a lag reaches from around one step to around one of those that end it."""
    return (
        lag.maximum is not None
        and _is_around(lag.from_event.path, start)
        and any(_is_around(lag.to_event.path, end) for end in ending)
    )


def _is_around(outer: str, path: str) -> bool:
    return path == outer or path.startswith((f"{outer}/", f"{outer}["))
