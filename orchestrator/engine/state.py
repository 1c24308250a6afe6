"""The folded state of one host: what is known after a number of events.

Only ``fold`` changes it. It holds what the engine decides on and what views show; what
a finished phase asked and was answered is dropped, since its report stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.engine.phase_state import PhaseState
from orchestrator.kernel.instants import Instant

Texts = dict[str, str]

LATE_REPORT: Final = "late report "
"""How the reason begins for which a unit procedure is held until two people have said so."""

RESTORED: Final = "restored"
"""The reason of all that rests since a restore; also what an instrument's record strayed by."""


@dataclass(slots=True)
class Mark:
    """A moment by the boot-time clock: it counts, whatever the wall clock shows."""

    boot: str
    ms: int


@dataclass(slots=True)
class KnownTime:
    """A moment of a boot whose time was known: at ``ms`` it was ``at``, within ``within_ms``."""

    at: Instant
    ms: int
    within_ms: int
    signed: bool = False
    """A person said so."""


@dataclass(slots=True)
class AttemptState:
    """One attempt of an act. ``verdict`` is ``open`` until evidence or people settle it."""

    command: str
    equipment: str
    act: dict[str, Any]
    before: Texts
    witness: str
    evidence: Texts
    intended: int
    intended_at: Instant
    verdict: str = "open"
    after: Texts = field(default_factory=dict)
    """What the device showed when nobody knew what it had done."""
    done: str = ""
    detail: Texts = field(default_factory=dict)
    why: str = ""
    overdue: bool = False
    mark: Mark | None = None
    """When it was intended."""


@dataclass(slots=True)
class WordState:
    """One word of a phase: what was asked, and the answer if there is one."""

    asked: dict[str, Any]
    answer: dict[str, Any] | None = None
    answered_at: Instant | None = None
    attempts: list[AttemptState] = field(default_factory=list)
    asked_at: Instant | None = None
    mark: Mark | None = None
    """When a wait was asked for."""


@dataclass(slots=True)
class PhaseRecord:
    """One phase of a batch as far as it has come."""

    phase: str
    started_seq: int
    started_at: Instant
    state: PhaseState = PhaseState.RUNNING
    why: str = ""
    words: dict[int, WordState] = field(default_factory=dict)
    report: Texts = field(default_factory=dict)
    ended_at: Instant | None = None


@dataclass(slots=True)
class ProcedureState:
    """One unit procedure: its state, and each reason for which it is held."""

    state: PhaseState = PhaseState.IDLE
    why: str = ""
    reasons: Texts = field(default_factory=dict)


@dataclass(slots=True)
class AmendmentState:
    """An amendment that was proposed: what it changes, and what became of it."""

    binding: str
    old: str
    new: str
    at: str
    changes: list[str]
    reason: str
    proposed_by: str
    proposed_at: Instant
    seq: int
    """The event that holds it whole."""
    status: str = "proposed"
    """Then ``made`` or ``rejected``."""
    decided_by: str = ""
    why_not: str = ""


@dataclass(slots=True)
class BatchState:
    """One batch as far as it has come. Names map the recipe's words to this batch's things."""

    coi: str
    recipe: str
    cell: str
    containers: Texts
    kits: Texts
    units: Texts
    places: Texts
    ordered: Texts
    made_at: Instant
    status: str = "made"
    start_asked_by: str = ""
    """Who had it started; it stays ``made`` until it has its long leases."""
    phases: dict[str, PhaseRecord] = field(default_factory=dict)
    branches: Texts = field(default_factory=dict)
    measured: Texts = field(default_factory=dict)
    watches: Texts = field(default_factory=dict)
    moments: dict[str, Instant] = field(default_factory=dict)
    changed: int = 0
    """The last event that moved a part of it to another state."""
    broken: str = ""
    broken_path: str = ""
    """Where, if a phase's record was what broke it; ``*`` if it was an unforeseen error."""
    procedures: dict[str, ProcedureState] = field(default_factory=dict)
    engine: str = ""
    """The version of the software that it is bound to."""
    serials: Texts = field(default_factory=dict)
    """Of each instrument that had shown its serial number as the batch was started."""
    amendments: dict[str, AmendmentState] = field(default_factory=dict)


@dataclass(slots=True)
class ClosedBatch:
    """A line about a batch that is over and put away (``engine.closed``)."""

    coi: str
    recipe: str
    status: str
    phases: int
    measured: Texts
    containers: list[str]
    """Those that were put away with it."""
    sha256: str
    """Of what was put away."""


@dataclass(slots=True)
class EquipmentState:
    """A device as last settled: what only acts change, and what it said it is."""

    model: str
    serial: str
    firmware: str
    values: Texts
    witness: str
    outside: Texts = field(default_factory=dict)
    """Of each value that strayed since a person looked, what it was before."""


@dataclass(slots=True)
class LotState:
    """A lot of a reagent or of kits."""

    material: str
    expires: Instant
    in_use: str
    opened_at: Instant | None = None
    quarantined: str = ""


@dataclass(slots=True)
class ContainerState:
    """A container: whose, what is in it, where it is and what it is joined to."""

    label: str
    material: str
    what: str
    coi: str
    lot: str
    volume_nl: int
    capacity_nl: int
    batch: str = ""
    place: str = ""
    kit: str = ""
    port: str = ""
    quarantined: str = ""
    """All that it is in quarantine for."""
    changed: int = 0
    """The newest event after which somebody may decide otherwise on its quarantine."""
    beside: str = ""
    """A label that was stuck on and reported; it counts once it was scanned with ``label``."""
    beside_task: str = ""
    """The hand work that stuck it on."""
    opened_at: Instant | None = None
    opened: Mark | None = None
    proven_seq: int = 0
    breaks: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class LeaseState:
    """Who owns a unit or a place."""

    batch: str
    coi: str
    path: str
    until: str
    since: Instant


@dataclass(slots=True)
class WaiterState:
    """A batch that waits for units or places."""

    batch: str
    path: str
    resources: list[str]
    since: Instant
    least_time_left: Instant | None


@dataclass(slots=True)
class TaskState:
    """Work for people."""

    batch: str
    path: str
    word: int
    work: str
    text: str
    ask: dict[str, Any]
    evidence: Texts
    second_person: bool
    offered_at: Instant
    due: Instant | None
    status: str = "offered"
    taken_by: str = ""
    reported_by: str = ""
    verified_by: str = ""
    values: Texts = field(default_factory=dict)
    choice: str = ""
    signature: dict[str, Any] | None = None
    rejected: str = ""
    """Why somebody said that hand work isn't as it was reported; empty if nobody did."""
    recalled: str = ""
    """Why the person who has it is asked whether it was done; empty while nobody asks."""
    taken_back: str = ""
    """Why hand work was taken from the person who had it; empty while it wasn't."""
    taken_back_by: str = ""
    changed: int = 0
    """The task's last event: a command that rests on an older view is refused."""
    hands: list[str] = field(default_factory=list)
    """Everyone who took or reported it, whether or not that stands."""


@dataclass(slots=True)
class LimitState:
    """A running clock."""

    owner: str
    batch: str
    minimum: str
    maximum: str
    tier: str
    source: str
    mark: Mark
    """When it started."""
    started_at: Instant
    due: bool = False
    started_seq: int = 0


@dataclass(slots=True)
class AlarmState:
    """An alarm that isn't both acknowledged and cleared."""

    tier: str
    cause: str
    consequence: str
    action: str
    batch: str
    raised_at: Instant
    acknowledged_by: str = ""
    cleared: bool = False


@dataclass(slots=True)
class DeviationState:
    """A departure from the recipe."""

    batch: str
    path: str
    text: str
    opened_by: str
    opened_at: Instant
    closed_by: str = ""
    limit: str = ""
    limit_started_seq: int = 0
    """The start of the limit that ran as this was opened: a later run isn't waived by it."""


@dataclass(slots=True)
class PersonState:
    """A person who may act under a name."""

    login: str
    printed_name: str
    roles: list[str]
    secret: str
    refused: int = 0
    refused_at: Instant | None = None


@dataclass(slots=True)
class SessionState:
    """An open session: whose, and by the host's boot-time clock since when and last used when."""

    user: str
    boot: str
    opened_ms: int
    used_ms: int


@dataclass(slots=True)
class AnsweredState:
    """How a person's request was answered."""

    seq: int
    command: str
    arguments: str
    """The SHA-256 of what it was given with."""
    refused: Texts = field(default_factory=dict)


@dataclass(slots=True)
class RecipeState:
    """A recipe on file, with who signed what."""

    title: str
    document: str
    version: str
    signers: Texts = field(default_factory=dict)
    submitted_seq: int = 0
    amends: str = ""
    """The batch for which it was amended: no other is made of it."""


@dataclass(slots=True)
class AwaitedScan:
    """A scan that somebody or something must make before a phase goes on."""

    batch: str
    path: str
    container: str
    place: str
    scanner: str
    since: Instant
    which: str = ""


@dataclass(slots=True)
class HostState:
    """Everything that is known on one host."""

    seq: int = 0
    boot: str = ""
    cell: str = ""
    known_times: dict[str, KnownTime] = field(default_factory=dict[str, KnownTime])
    """By boot, when its time was known; a boot that isn't among them had no such moment."""
    boots: list[str] = field(default_factory=list[str])
    """Every boot that there are events of, the newest last."""
    doubted: list[str] = field(default_factory=list[str])
    """Boots whose clock contradicted itself: only a person says what time it was."""
    wall: KnownTime | None = None
    """What the wall clock of the newest boot showed, to be compared with what it shows later."""
    jumped: int = 0
    """The newest jump of the wall clock, until a person has acknowledged it."""
    last_start: int = 0
    ended_well: bool = True
    witnessed: int | None = None
    """How many events its witness was last seen to vouch for; None where it never had one."""
    epoch: int = 0
    """Raised by each restore of the journal from a backup."""
    witness_closed: list[tuple[int, int, str]] = field(default_factory=list)
    """The witness's files of earlier epochs, by epoch, length and SHA-256."""
    batches: dict[str, BatchState] = field(default_factory=dict)
    closed: dict[str, ClosedBatch] = field(default_factory=dict)
    """Batches that are put away; a name finds them in ``batches`` all the same."""
    equipment: dict[str, EquipmentState] = field(default_factory=dict)
    lots: dict[str, LotState] = field(default_factory=dict)
    containers: dict[str, ContainerState] = field(default_factory=dict)
    labels: Texts = field(default_factory=dict)
    leases: dict[str, LeaseState] = field(default_factory=dict)
    waiters: dict[str, WaiterState] = field(default_factory=dict)
    tasks: dict[str, TaskState] = field(default_factory=dict)
    limits: dict[str, LimitState] = field(default_factory=dict)
    alarms: dict[str, AlarmState] = field(default_factory=dict)
    deviations: dict[str, DeviationState] = field(default_factory=dict)
    people: dict[str, PersonState] = field(default_factory=dict)
    sessions: dict[str, SessionState] = field(default_factory=dict)
    """Open sessions by the SHA-256 of their token."""
    recipes: dict[str, RecipeState] = field(default_factory=dict)
    scans: dict[str, AwaitedScan] = field(default_factory=dict)
    traced: dict[str, int] = field(default_factory=dict)
    """Samples sealed so far, by ``equipment reading``."""
    attempts: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """Open attempts: command to (batch, path, word)."""
    answered: dict[str, AnsweredState] = field(default_factory=dict)
    """People's requests that were answered, by person and request, the newest last."""
    forgotten: int = 0
    """The newest answer that isn't among them any more: a view before it tells nothing of what
    was asked on it."""
    unfolded: dict[int, str] = field(default_factory=dict)
    """Events that don't fit the state they met: what they changed isn't known here."""
