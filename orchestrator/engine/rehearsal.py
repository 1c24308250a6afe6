"""Go through the open phases of a journal with this version, without touching anything.

Each phase that was begun and hasn't ended is run on its recorded answers, up to the first
word that has none. It must ask what the record holds: else this version, once started, would
have that batch stand still. Nothing is written and no instrument is known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, overload

from chain_of_identity.gate import IdentityGate, ProvenContainer
from devices.interfaces.scanning import Identify, IdentifyByBoth
from orchestrator.engine.actor import rest_of, total_of
from orchestrator.engine.bound_names import BoundNames, proof_on_record
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.register import FoldedRegister
from orchestrator.engine.state import HostState, WordState
from orchestrator.kernel.acts import Act, Effect, Reading
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.errors import ProcessError, RecipeMismatchError
from orchestrator.kernel.identifiers import BatchId, CoiId, PhasePath
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.tasks import Answer, Question
from orchestrator.phases.outside import CameFirst
from orchestrator.phases.phase import PhaseModel
from orchestrator.process_cell.config import CellConfig
from orchestrator.recipe.model import Recipe

_TURN: Final = re.compile(r"\[\d+\]")
_ENDED: Final = (PhaseState.COMPLETE, PhaseState.STOPPED, PhaseState.ABORTED)


class _AsFarAsRecordedError(Exception):
    """The next word has no answer on record: the phase would act, read, wait or ask now."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How one open phase goes with this version; ``why`` is empty where it agrees."""

    batch: str
    path: str
    phase: str
    words: int
    why: str

    @property
    def agrees(self) -> bool:
        """Return whether the phase can go on with this version."""
        return not self.why


class Rehearsal(BoundNames):
    """One open phase on its recorded answers; implements ``Outside``."""

    def __init__(
        self, state: HostState, config: CellConfig, batch: BatchId, path: PhasePath
    ) -> None:
        known = state.batches[batch]
        super().__init__(known, config)
        self.words = 0
        self._path = path
        self._record = known.phases[path]
        self._gate = IdentityGate(batch, CoiId(known.coi), FoldedRegister(state, config))
        self._last = self._record.started_at

    async def do(self, act: Act, *, proven: tuple[ProvenContainer, ...]) -> Effect:
        """Return what the act did, if that is settled."""
        del proven
        word = self._word(act.model_dump(mode="json"))
        attempts = word.attempts
        if attempts[-1].verdict in ("open", "uncertain") or rest_of(act, attempts) is not None:
            raise _AsFarAsRecordedError
        self._answered(word)
        return total_of(act, attempts)

    @overload
    async def see(self, reading: Identify | IdentifyByBoth) -> ProvenContainer: ...
    @overload
    async def see(self, reading: Reading) -> str: ...
    async def see(self, reading: Reading) -> str | ProvenContainer:
        """Return what was seen."""
        answer = self._answer(self._word(reading.model_dump(mode="json")))
        if isinstance(reading, Identify | IdentifyByBoth):
            return proof_on_record(self._gate, self._path, reading, answer)
        return str(answer["value"])

    async def until(self, when: Instant | Condition, *, latest: Instant | None = None) -> CameFirst:
        """Return what came first."""
        asked = {
            "instant": str(when) if isinstance(when, Instant) else None,
            "condition": when.model_dump(mode="json") if isinstance(when, Condition) else None,
            "latest": None if latest is None else str(latest),
        }
        return CameFirst(self._answer(self._word(asked))["first"])

    async def ask(self, question: Question) -> Answer:
        """Return what people answered."""
        return Answer.model_validate(self._answer(self._word(question.model_dump(mode="json"))))

    @property
    def last_answered(self) -> Instant:
        """Return when the latest word was answered, or when the phase started."""
        return self._last

    def _word(self, asked: dict[str, Any]) -> WordState:
        number = self.words + 1
        word = self._record.words.get(number)
        if word is None:
            raise _AsFarAsRecordedError
        if word.asked != asked:
            raise RecipeMismatchError(
                f"go through {self._path}",
                why=f"word {number} asks {_differing(word.asked, asked)}",
                do_next="Keep the version that began it for this batch",
            )
        self.words = number
        return word

    def _answer(self, word: WordState) -> dict[str, Any]:
        if word.answer is None:
            raise _AsFarAsRecordedError
        self._answered(word)
        return word.answer

    def _answered(self, word: WordState) -> None:
        if word.answered_at is not None:
            self._last = word.answered_at


async def rehearse(
    state: HostState, config: CellConfig, recipes: Mapping[str, str], *, only: str = ""
) -> list[Rehearsed]:
    """Return how each open phase of each running batch goes with this version.

    Args:
        state: Folded from the journal.
        config: The process cell that the daemon will run.
        recipes: The content of each recipe on file, by its digest.
        only: The batch that is meant; empty means all.
    """
    found: list[Rehearsed] = []
    for name, batch in state.batches.items():
        if batch.status != "running" or only not in ("", name):
            continue
        begun = [path for path, one in batch.phases.items() if one.state not in _ENDED]
        try:
            phases = _phases(Recipe.read(recipes[batch.recipe].encode()))
        except (ProcessError, LookupError) as unreadable:
            why = f"its recipe can't be read: {unreadable}"
            found += [Rehearsed(name, path, batch.phases[path].phase, 0, why) for path in begun]
            if not begun:
                found.append(Rehearsed(name, "", "", 0, why))
            continue
        for path in begun:
            rehearsal = Rehearsal(state, config, BatchId(name), PhasePath(path))
            why = await _run(phases.get(_TURN.sub("", path)), rehearsal, batch.phases[path].phase)
            why = why or _left_over(rehearsal, len(batch.phases[path].words))
            found.append(Rehearsed(name, path, batch.phases[path].phase, rehearsal.words, why))
    return found


async def _run(phase: PhaseModel | None, rehearsal: Rehearsal, began_as: str) -> str:
    """Return why a phase doesn't agree with its record; empty if it does."""
    if phase is None:
        return "the recipe has no phase at this path"
    if phase.kind != began_as:
        return f"it began as {began_as} and would go on as {phase.kind}"
    try:
        await phase.run(rehearsal)
    except _AsFarAsRecordedError:
        return ""
    except RecipeMismatchError as differs:
        return differs.why
    except ProcessError:
        return ""  # it fails as it did, and is held for people
    except Exception as unforeseen:
        return f"{type(unforeseen).__name__}: {unforeseen}"
    return ""


def _left_over(rehearsal: Rehearsal, recorded: int) -> str:
    """Return why a phase went less far than its record, or empty."""
    if rehearsal.words >= recorded:
        return ""
    return f"it asks {rehearsal.words} words, and the record holds {recorded}"


def _phases(recipe: Recipe) -> dict[str, PhaseModel]:
    return {path: step.phase for path, step in recipe.steps()}


def _differing(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return in which parts a question isn't the recorded one."""
    names = sorted({*recorded, *asked})
    differing = [
        f"{name} {asked.get(name)!r} and not {recorded.get(name)!r}"
        for name in names
        if asked.get(name) != recorded.get(name)
    ]
    return "; ".join(differing)
