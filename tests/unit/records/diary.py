"""A journal written by hand: what a test says that the software recorded, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from devices.interfaces.fluid_transfer import PumpVolume, TurnEmptyPump
from devices.interfaces.hands import HandAct, Handwork
from devices.interfaces.valves import SetValves
from hw_mocks.ledger_record import ledger_of
from hw_mocks.world import World
from orchestrator.journal.events import (
    AnyEvent,
    AttemptFailed,
    AttemptIntended,
    AttemptReconciled,
    AttemptSettled,
    AttemptUncertain,
    BatchEnded,
    ContainerPlaced,
    EquipmentQuieted,
    HandWorkReportedLate,
    Joint,
    OutsideActSeen,
    TaskOffered,
    TaskTaken,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.acts import Act, OnInterruption, Quieten
from orchestrator.kernel.identifiers import (
    BatchId,
    CommandId,
    ContainerId,
    EquipmentId,
    PhasePath,
    PlaceId,
    TaskId,
    UserId,
)
from orchestrator.kernel.quantities import Duration, hour, mL, mL_per_min, ms
from orchestrator.records.comparison import Comparison, LedgerEffect, compare
from orchestrator.virtual_time import USUAL_BOOT, USUAL_START

BATCH = BatchId("B-1")
PATH = PhasePath("move/once/01-transfer")


class Diary:
    """Events in order, each at the moment that ``now`` gives when it is written."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self.now = now
        self.events: list[Recorded[AnyEvent]] = []
        self._commands = 0

    def write(self, event: AnyEvent, *, at_s: float | None = None) -> None:
        """Record ``event`` now, or at the World's second ``at_s``."""
        after = Duration.of_base(round((self.now() if at_s is None else at_s) * 1000))
        seq = len(self.events) + 1
        self.events.append(
            Recorded(seq, USUAL_START + after, USUAL_BOOT, 0 * ms + after, "batch", event)
        )

    def intend(
        self,
        act: Act,
        equipment: str,
        *,
        word: int = 1,
        batch: str = BATCH,
        path: str = PATH,
        attempt: int = 1,
        at_s: float | None = None,
    ) -> CommandId:
        """Record that an attempt may begin; return its command."""
        self._commands += 1
        command = CommandId(f"{batch}/{path}#{word}.{attempt}.{self._commands}")
        self.write(
            AttemptIntended(
                batch=BatchId(str(batch)),
                path=PhasePath(str(path)),
                word=word,
                attempt=attempt,
                command=command,
                equipment=EquipmentId(equipment),
                asked=act.model_dump(mode="json"),
                before={},
                witness="",
                evidence={},
            ),
            at_s=at_s,
        )
        return command

    def settle(
        self, command: CommandId, verdict: str = "all", done: str = "1", at_s: float | None = None
    ) -> None:
        """Record that an attempt had a known effect."""
        event: dict[str, Any] = {
            "verdict": verdict,
            "done": done,
            "after": {},
            "witness": "",
            "evidence": {},
        }
        settled = AttemptSettled.model_validate(
            {"batch": _batch_of(command), "command": command, **event}
        )
        self.write(settled, at_s=at_s)

    def fail(self, command: CommandId, *, at_s: float | None = None) -> None:
        """Record that an attempt failed and did nothing."""
        error = {"code": "failed.device-fault"}
        self.write(AttemptFailed(batch=_batch_of(command), command=command, error=error), at_s=at_s)

    def doubt(self, command: CommandId, why: str = "no reply", at_s: float | None = None) -> None:
        """Record that nobody knows what an attempt did."""
        self.write(AttemptUncertain(batch=_batch_of(command), command=command, why=why), at_s=at_s)

    def reconcile(
        self, command: CommandId, verdict: str, done: str = "", at_s: float | None = None
    ) -> None:
        """Record what two people decided that an attempt had done."""
        event: dict[str, Any] = {"verdict": verdict, "done": done, "batch": _batch_of(command)}
        signed = AttemptReconciled.model_validate({"command": command, "signatures": [], **event})
        self.write(signed, at_s=at_s)

    def outside(self, equipment: str, at_s: float | None = None) -> None:
        """Record that a device showed what no act explains."""
        seen = OutsideActSeen(equipment=EquipmentId(equipment), value="count", was="1", seen="2")
        self.write(seen, at_s=at_s)

    def quieted(self, equipment: str, at_s: float | None = None) -> None:
        """Record that a device was brought to rest."""
        quieted = EquipmentQuieted(
            equipment=EquipmentId(equipment), how="hold present value", why="restart"
        )
        self.write(quieted, at_s=at_s)

    def taken(
        self, person: str, *, word: int = 1, batch: str = BATCH, at_s: float | None = None
    ) -> None:
        """Record that a person took the hand work of one act on."""
        task = TaskId(f"{batch}/{word}")
        self.write(
            TaskOffered(
                task=task,
                batch=BatchId(str(batch)),
                path=PATH,
                word=word,
                work="do",
                text="do it",
                ask={},
            ),
            at_s=at_s,
        )
        self.write(TaskTaken(task=task, by=UserId(person)), at_s=at_s)

    def late(
        self, person: str, *, word: int = 1, batch: str = BATCH, at_s: float | None = None
    ) -> None:
        """Record that a person reports the hand work of one act after its withdrawal."""
        task = TaskId(f"{batch}/{word}")
        self.write(
            HandWorkReportedLate(
                batch=BatchId(str(batch)), path=PATH, task=task, by=UserId(person), against=task
            ),
            at_s=at_s,
        )

    def carried(
        self,
        thing: str,
        place: str,
        *,
        by: str = "U-1",
        at_s: float | None = None,
        sealed_off: Joint | None = None,
    ) -> None:
        """Record that a person says that they carried a thing away, and maybe cut it off first."""
        self._placed("carried", thing, place, by, at_s, sealed_off)

    def found(self, thing: str, place: str, *, by: str = "U-1", at_s: float | None = None) -> None:
        """Record that a person says that they found a thing."""
        self._placed("found", thing, place, by, at_s)

    def _placed(
        self,
        how: Literal["carried", "found"],
        thing: str,
        place: str,
        by: str,
        at_s: float | None,
        sealed_off: Joint | None = None,
    ) -> None:
        placed = ContainerPlaced(
            container=ContainerId(thing),
            label=f"L-{thing}",
            place=place,
            how=how,
            why="the line is cleared",
            by=UserId(by),
            sealed_off=sealed_off,
        )
        self.write(placed, at_s=at_s)

    def ended(self, batch: str = BATCH, at_s: float | None = None) -> None:
        """Record that the batch is complete."""
        self.write(BatchEnded(batch=BatchId(str(batch)), how="complete"), at_s=at_s)

    def judged(self, ledger: Sequence[LedgerEffect] | World) -> Comparison:
        """Return the comparison of these events with a ledger."""
        if isinstance(ledger, World):
            ledger = [LedgerEffect(**record) for record in ledger_of(ledger)]
        return compare(self.events, ledger, start=USUAL_START)


def _batch_of(command: CommandId) -> BatchId:
    return BatchId(command.partition("/")[0])


def names(comparison: Comparison) -> list[tuple[str, str]]:
    """Return what was found wrong: kind and instrument."""
    return [(finding.kind, finding.instrument) for finding in comparison.findings]


def pump(
    volume: float = 60.0,
    *,
    source: str = "C-1",
    target: str = "K-1/vessel",
    on_interruption: OnInterruption = OnInterruption.CONTINUE,
) -> PumpVolume:
    """Return the act of pumping so many mL."""
    return PumpVolume(
        unit="station",
        longest=1 * hour,
        on_interruption=on_interruption,
        quieten=Quieten.HALT,
        volume=volume * mL,
        flow=40 * mL_per_min,
        forward=True,
        source=ContainerId(source),
        target=ContainerId(target),
    )


def turn_empty() -> TurnEmptyPump:
    """Return the act of turning an empty pump by what 1 mL would need."""
    return TurnEmptyPump(
        unit="station",
        longest=1 * hour,
        on_interruption=OnInterruption.REPEAT,
        quieten=Quieten.HALT,
        volume=1 * mL,
        flow=40 * mL_per_min,
    )


def valves(*opened: str) -> SetValves:
    """Return the act of opening just these valves."""
    return SetValves(
        kit=ContainerId("K-1"),
        unit="station",
        longest=1 * hour,
        on_interruption=OnInterruption.REPEAT,
        quieten=Quieten.LEAVE_RUNNING,
        open=tuple(sorted(opened)),
    )


def by_hand(
    work: Handwork,
    *containers: str,
    kit: str | None = None,
    port: str = "",
    at: Sequence[str] = (),
    parameters: dict[str, str] | None = None,
) -> HandAct:
    """Return a piece of hand work."""
    return HandAct.model_validate(
        {
            "unit": "people",
            "longest": str(1 * hour),
            "on_interruption": "hold",
            "quieten": "leave running",
            "work": work,
            "instruction": "Do it",
            "containers": [ContainerId(one) for one in containers],
            "kit": kit,
            "port": port,
            "at": [PlaceId(one) for one in at],
            "parameters": parameters or {},
        }
    )
