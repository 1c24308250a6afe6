"""Check a protocol file, or a recipe, and tell what is wrong with it and why.

A finding is a value: rule, severity, line of the file, what is wrong with its numbers, and
what to do. Nothing is raised for a recipe that is merely wrong. ``refuse`` can't be
approved; ``ask`` may be approved with a signed reason. There is no warning that nobody
reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.recipe.child import Answer, Child
from orchestrator.recipe.rules.file import LARGEST_FILE, examine

if TYPE_CHECKING:
    from orchestrator.recipe.model import Recipe
    from orchestrator.recipe.rules.rule import Problem, Rule, Severity
    from orchestrator.recipe.rules.view import CellOffers

_FAMILIES: Final = (
    "units",
    "limits",
    "identity",
    "closed_system",
    "material_balance",
    "holds",
    "resumption",
    "signatures",
    "file",
)

_ADVICE: Final = (
    ": write ",
    "; write ",
    "; add ",
    "; choose ",
    "; begin ",
    "; move ",
    "; give ",
    "; swap ",
    "; declare ",
)
"""How advice begins that stands in a finding's own text."""

_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    rule: str
    severity: Severity
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule} {self.text}"

    def as_json(self) -> dict[str, str | int]:
        """Return the finding as programs read it."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "file": self.file,
            "line": self.line,
            "text": self.text,
        }


@dataclass(frozen=True)
class Checked:
    """What a check found. ``recipe`` is None where none could be written."""

    recipe: Recipe | None
    findings: tuple[Finding, ...]
    places: dict[str, tuple[str, int]]

    @property
    def is_refused(self) -> bool:
        """Whether it can't be approved as it is."""
        return self.recipe is None or any(f.severity == "refuse" for f in self.findings)


def check_file(path: Path, cell: CellOffers | None = None) -> Checked:
    """Return the recipe that a protocol file writes, with everything found wrong.

    The file is looked at by the allow-list first and run only if that admits it, in a
    limited process of its own.
    """
    with Child() as child:  # started first: it takes as long to import as all that follows
        sources, findings = _sources(path)
        if findings:
            return Checked(None, tuple(findings), {})
        _import_rules()
        from orchestrator.recipe.model import Recipe, load_phase_kinds

        load_phase_kinds()
        answer = child.run(sources)
    if not isinstance(answer, Answer):
        found = _finding(answer.rule, answer.file, answer.line, answer.text)
        return Checked(None, (found,), {})
    said = [_finding(fault.rule, fault.file, fault.line, fault.text) for fault in answer.faults]
    try:
        recipe = Recipe.read(answer.content)
    except RecipeRefusedError as refused:
        said.append(_finding("P070", str(path), 1, f"its recipe can't be read: {refused.why}."))
        return Checked(None, tuple(said), {})
    by_rules = check_recipe(recipe, cell, answer.places, str(path)) if recipe.body else ()
    said += [found for found in by_rules if not _is_told(found, said)]
    if not recipe.body and not said:
        said.append(_finding("P050", str(path), 1, "it has no steps."))
    said.sort(key=lambda found: (found.file, found.line, found.rule, found.text))
    whole = not any(fault.rule.startswith(("P", "U")) for fault in answer.faults)
    return Checked(recipe if whole and recipe.body else None, tuple(said), answer.places)


def check_recipe(
    recipe: Recipe,
    cell: CellOffers | None = None,
    places: dict[str, tuple[str, int]] | None = None,
    file: str = "",
) -> tuple[Finding, ...]:
    """Return everything that the rules find in a recipe, in the order of its lines."""
    from orchestrator.recipe.rules.view import View

    view = View(recipe, cell)
    found = [
        _placed(problem, places or {}, file or recipe.document)
        for family in _import_rules()
        for problem in _looked(family, view)
    ]
    return tuple(sorted(found, key=lambda one: (one.file, one.line, one.rule, one.text)))


def explain(code: str) -> str:
    """Return what a rule demands, why, and what to do.

    Raises:
        RecipeRefusedError: There is no such rule.
    """
    known = rules()
    rule = known.get(code.upper())
    if rule is None:
        raise RecipeRefusedError(
            f"explain {code!r}",
            why="there is no such rule",
            do_next=f"Name one of {', '.join(known)}",
        )
    meaning = {
        "refuse": "A recipe that breaks it can't be approved.",
        "ask": "A recipe that breaks it may be approved with a signed reason.",
    }[rule.severity]
    return f"{rule.code}: {rule.demands}\n{meaning}\n\nWhy: {rule.because}\nDo: {rule.do_next}\n"


def rules() -> dict[str, Rule]:
    """Return every rule by its code, family by family."""
    return {rule.code: rule for family in _import_rules() for rule in family.RULES}


def rules_in_words() -> str:
    """Return the reference page of all rules, in Markdown."""
    lines = [
        "# Rules",
        "",
        "What `cellwright check` holds a protocol to. *Refuse*: it can't be approved. *Ask*: it",
        "may be approved with a signed reason. `cellwright explain RULE` prints one of these.",
    ]
    for family in _import_rules():
        lines += ["", f"## {(family.__doc__ or '').splitlines()[0]}", ""]
        for rule in family.RULES:
            lines += [
                f"### {rule.code} ({rule.severity})",
                "",
                rule.demands,
                "",
                f"*Why:* {rule.because}",
                "",
                f"*Do:* {rule.do_next}",
                "",
            ]
        lines.pop()
    return "\n".join(lines) + "\n"


def _import_rules() -> tuple[Any, ...]:
    from importlib import import_module

    return tuple(import_module(f"orchestrator.recipe.rules.{name}") for name in _FAMILIES)


def _looked(family: Any, view: Any) -> Iterator[Problem]:
    if hasattr(family, "look"):
        yield from family.look(view)


def _sources(path: Path) -> tuple[dict[str, tuple[str, str]], list[Finding]]:
    """Return the file and what it takes from the library, and what the list refuses."""
    sources: dict[str, tuple[str, str]] = {}
    findings: list[Finding] = []
    wanted = [("protocol", path, str(path), 1)]
    while wanted:
        name, file, asked_by, line = wanted.pop()
        if name in sources:
            continue
        try:
            if not file.is_file():
                raise OSError("there is no such file" if not file.exists() else "it isn't a file")
            with file.open("rb") as opened:
                content = opened.read(LARGEST_FILE + 1)
        except OSError as failed:
            why = failed.strerror or str(failed)
            findings.append(_finding("P010", asked_by, line, f"can't read {file}: {why}"))
            continue
        allowed = examine(content, is_library=name != "protocol")
        findings += [_finding(r.code, str(file), r.line, r.text) for r in allowed.refused]
        if allowed.refused:
            continue
        sources[name] = (str(file), content.decode("utf-8"))
        for module, at in allowed.library:
            wanted.append((module, _ROOT / (module.replace(".", "/") + ".py"), str(file), at))
    return sources, findings


def _finding(code: str, file: str, line: int, text: str) -> Finding:
    rule = rules()[code]
    told = text.rstrip(".")
    if not _says_what_to_do(rule, told):
        told = f"{told}. {rule.do_next.rstrip('.')}"
    return Finding(code, rule.severity, file, line, told if told.endswith("?") else f"{told}.")


def _says_what_to_do(rule: Rule, text: str) -> bool:
    """Return whether a finding has advice of its own, or its rule none beyond "correct it"."""
    return (
        rule.do_next.startswith("Correct it")
        or text.endswith("?")
        or any(word in text for word in _ADVICE)
        or rule.do_next.split(".")[0] in text
    )


def _placed(problem: Problem, places: dict[str, tuple[str, int]], file: str) -> Finding:
    where, line = places.get(problem.path, (file, 0))
    return _finding(problem.code, where, line, problem.text)


def _is_told(found: Finding, said: list[Finding]) -> bool:
    """Return whether the same rule spoke of the same line while the recipe was written."""
    return any(
        (one.rule, one.file, one.line) == (found.rule, found.file, found.line) for one in said
    )
