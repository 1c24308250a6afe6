"""Ask a person to confirm, choose or enter. Moves nothing."""

from __future__ import annotations

import re
from typing import Final, Literal, Self

from pydantic import model_validator

from orchestrator.kernel.acts import Claims, OnInterruption, Quieten
from orchestrator.kernel.quantities import Duration, Range, second
from orchestrator.kernel.tasks import Choice, Entry, Question, TaskKind
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report

_KEY: Final = re.compile(r"[a-z0-9_]+")
_OURS: Final = ("choice", "by", "verified_by")


class Confirm(PhaseModel):
    """Ask ``question``; the report holds the choice, what was entered, and by whom."""

    kind: Literal["confirm/1"] = "confirm/1"
    question: str
    choices: tuple[Choice, ...] = ()
    entries: tuple[Entry, ...] = ()
    second_person: bool = False
    respond_within: Duration

    @model_validator(mode="after")
    def _can_be_reported(self) -> Self:
        names = [entry.name for entry in self.entries]
        for name in names:
            if _KEY.fullmatch(name) is None or name in _OURS or names.count(name) > 1:
                raise ValueError(
                    f"an entry {name!r} can't be reported: small letters, digits and "
                    f"underscores, once, and none of {', '.join(_OURS)}"
                )
        return self

    def claims(self) -> Claims:
        return Claims(
            duration=Range(min(1 * second, self.respond_within), self.respond_within),
            attended=True,
            second_person=self.second_person,
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="nothing moves while people answer",
        )

    def sentence(self) -> str:
        asked = [entry.name.replace("_", " ") for entry in self.entries]
        words = f"Ask: {self.question}"
        if self.choices:
            words += f" Choose {' or '.join(choice.name for choice in self.choices)}."
        if asked:
            words += f" Enter {', '.join(asked)}."
        if self.second_person:
            words += " A second person verifies."
        return words

    async def run(self, outside: Outside) -> Report:
        answer = await outside.ask(
            Question(
                kind=TaskKind.DECIDE if self.choices else TaskKind.ENTER,
                text=self.question,
                choices=self.choices,
                entries=self.entries,
                second_person=self.second_person,
                respond_within=self.respond_within,
            )
        )
        report = {entry.name: answer.values.get(entry.name, "") for entry in self.entries}
        report |= {"choice": answer.choice, "by": str(answer.by)}
        if answer.verified_by is not None:
            report["verified_by"] = str(answer.verified_by)
        return report
