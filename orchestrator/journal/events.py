"""Every kind of fact that the journal holds, as one discriminated union.

An event says what happened, in the past tense, and stands by itself. Its meaning never
changes: a new meaning is a new kind. Acts, readings and proofs stand here as canonical
values, so that a journal can be read without the phases and drivers that wrote it.

Keys of inner objects are ``[a-z0-9_]+``; names from outside stand as values only.
Follows design sections 5 to 8.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    CommandId,
    ContainerId,
    EquipmentId,
    KitId,
    LotId,
    PhasePath,
    PlaceId,
    PortId,
    RecipeDigest,
    TaskId,
    UserId,
)
from orchestrator.kernel.instants import Instant

Value = dict[str, Any]
"""A canonical value: an act, a reading, an error, as its own model writes it."""

Texts = dict[str, str]


class Named(Frozen):
    """A recipe's name and what it stands for in one batch."""

    name: str
    is_: str


class Signed(Frozen):
    """A signature as it stands in the record (21 CFR 11.50: name, time, meaning)."""

    signer: UserId
    printed_name: str
    meaning: Literal[
        "authored", "performed", "verified", "reviewed", "approved", "released", "rejected"
    ]
    signed_digest: str = Field(description="SHA-256 of the canonical signing statement")
    signed_at: Instant
    reason: str = ""


# The host ------------------------------------------------------------------------------


class HostStarted(Frozen):
    """The daemon started. Proofs made before this are spent."""

    kind: Literal["host_started"] = "host_started"
    version: str
    cell: str = Field(description="Digest of the process cell file")
    synchronised: bool
    offset: str = Field(
        default="", description="The most that ``at_utc`` is off, either way, if synchronised"
    )


class HostStopped(Frozen):
    """The daemon ended in good order."""

    kind: Literal["host_stopped"] = "host_stopped"


class JournalLatched(Frozen):
    """A write or sync failed; nothing more was attempted."""

    kind: Literal["journal_latched"] = "journal_latched"
    why: str


class JournalWitnessed(Frozen):
    """A witness outside the data folder agrees with this journal, and has its checkpoints."""

    kind: Literal["journal_witnessed"] = "journal_witnessed"
    events: int = Field(description="How many events the newest witnessed checkpoint counts")


class ClockJumped(Frozen):
    """The wall clock was set on or back while the host ran, by more than 2 s.

    What was recorded before bears the times of before: ``seq`` alone is the order of records.
    """

    kind: Literal["clock_jumped"] = "clock_jumped"
    by: str = Field(description="How far on, or back if negative, against the boot-time clock")


class ClockSynchronised(Frozen):
    """The wall clock came to be kept to a reference in this boot, or to a better one."""

    kind: Literal["clock_synchronised"] = "clock_synchronised"
    offset: str = Field(description="The most that ``at_utc`` is off, either way")


class ClockDoubted(Frozen):
    """The wall clock said twice in one boot that it was kept, and not both can be so.

    Nobody knows this boot's time any more, until a person signs it.
    """

    kind: Literal["clock_doubted"] = "clock_doubted"
    why: str


class TimeSigned(Frozen):
    """A person says what the time was, of a boot whose clock nobody vouches for."""

    kind: Literal["time_signed"] = "time_signed"
    time: Instant = Field(description="As the person read it off another clock, in UTC")
    within: str = Field(description="The most that it is off, either way")
    boot: str = Field(description="The boot of which it is signed")
    boottime: int = Field(description="What that boot's clock showed then, in milliseconds")
    of: int = Field(default=0, description="The event whose time it was; 0 for the time of signing")
    signature: Signed


class WitnessClosed(Frozen):
    """A witness's file of an earlier epoch, as it was when a restore closed it."""

    epoch: int
    length: int
    sha256: str


class JournalRestored(Frozen):
    """The journal was put back from a backup; what was recorded after that is lost to it.

    The first event of an epoch. Before anything moves, each container is scanned and each
    instrument looked at; what ran is held.
    """

    kind: Literal["journal_restored"] = "journal_restored"
    epoch: int = Field(description="The one that it opens; no journal of this host had it before")
    events: int = Field(description="How many events were put back")
    merkle_root: str = Field(description="The root over them, in hexadecimal")
    anchored: int = Field(description="How many of them its newest checkpoint counts")
    known: int | None = Field(
        default=None, description="How many events are known to have been recorded, at least"
    )
    known_at: Instant | None = Field(
        default=None, description="When the newest checkpoint that is known was signed"
    )
    witness: tuple[WitnessClosed, ...] = Field(
        default=(), description="The witness's files; nothing is added to them any more"
    )
    signatures: tuple[Signed, ...]


class EquipmentSeen(Frozen):
    """A device answered at start or after a reconnect, and this is what it showed."""

    kind: Literal["equipment_seen"] = "equipment_seen"
    equipment: EquipmentId
    model: str
    serial: str
    firmware: str
    values: Texts
    witness: str
    explained_by: CommandId | None = Field(
        default=None, description="The attempt that explains it, once two people settled it"
    )


class EquipmentQuieted(Frozen):
    """A device was brought to rest."""

    kind: Literal["equipment_quieted"] = "equipment_quieted"
    equipment: EquipmentId
    how: str
    why: str


class Strayed(Frozen):
    """A value that a device shows, and what it was when an act was last settled."""

    value: str
    was: str
    seen: str


class OutsideActSeen(Frozen):
    """A device shows what no recorded act explains. One act from outside is one event."""

    kind: Literal["outside_act_seen"] = "outside_act_seen"
    equipment: EquipmentId
    value: str
    was: str
    seen: str
    also: tuple[Strayed, ...] = Field(default=(), description="What else strayed with it")

    @property
    def strayed(self) -> tuple[Strayed, ...]:
        """Return every value that strayed."""
        return (Strayed(value=self.value, was=self.was, seen=self.seen), *self.also)


class PersonAdded(Frozen):
    """A person may act under a name. ``secret`` is an argon2id hash."""

    kind: Literal["person_added"] = "person_added"
    user: UserId
    login: str
    printed_name: str
    roles: tuple[str, ...]
    secret: str
    by: UserId | None = None


class SessionOpened(Frozen):
    """A person logged in; only the token's hash is kept."""

    kind: Literal["session_opened"] = "session_opened"
    user: UserId
    token_sha256: str
    terminal: str


class SessionClosed(Frozen):
    """A person logged out, or the session ran out."""

    kind: Literal["session_closed"] = "session_closed"
    token_sha256: str
    why: str


class LoginRefused(Frozen):
    """A wrong password or an unknown name."""

    kind: Literal["login_refused"] = "login_refused"
    terminal: str
    user: UserId | None = None


class CommandAnswered(Frozen):
    """A person's command was carried out by the events just before it, or changed nothing more.

    Recorded together with them, so that the same request is answered as the first time and
    never carried out again, whatever died in between.
    """

    kind: Literal["command_answered"] = "command_answered"
    command: str
    by: UserId
    session: str = Field(description="The SHA-256 of its token")
    request: str
    arguments: str = Field(description="The SHA-256 of its arguments but a password")
    events: int = Field(default=0, description="How many events just before it carry it out")
    refused: Texts = Field(default={}, description="The refusal it ended with, if it did")


# Recipes and materials -------------------------------------------------------------------


class RecipeSubmitted(Frozen):
    """A checked recipe was put on file; its bytes are kept verbatim."""

    kind: Literal["recipe_submitted"] = "recipe_submitted"
    recipe: RecipeDigest
    title: str
    document: str
    version: str
    content: str
    signature: Signed


class RecipeSigned(Frozen):
    """A recipe was reviewed or approved."""

    kind: Literal["recipe_signed"] = "recipe_signed"
    recipe: RecipeDigest
    signature: Signed


class LotReceived(Frozen):
    """A lot of a reagent or a kit was received and may be used."""

    kind: Literal["lot_received"] = "lot_received"
    lot: LotId
    material: str
    expires: Instant
    in_use: str = Field(default="", description="Longest time in use once opened, as text")
    by: UserId


class LotQuarantined(Frozen):
    """A lot may not be used."""

    kind: Literal["lot_quarantined"] = "lot_quarantined"
    lot: LotId
    why: str
    by: UserId


class ContainerReceived(Frozen):
    """A container is known: patient material, reagent, kit or empty."""

    kind: Literal["container_received"] = "container_received"
    container: ContainerId
    label: str
    material: str
    what: Literal["patient_material", "reagent", "kit", "empty", "sample_tube"]
    coi: CoiId | None = None
    lot: LotId | None = None
    volume: str = ""
    capacity: str = ""
    positions: tuple[str, ...] = Field(default=(), description="A kit's inner containers")
    volumes: tuple[str, ...] = Field(default=(), description="What each of them holds")
    capacities: tuple[str, ...] = Field(default=(), description="What each of them has room for")
    by: UserId


class ContainerQuarantined(Frozen):
    """A container may not be touched until quality decides."""

    kind: Literal["container_quarantined"] = "container_quarantined"
    container: ContainerId
    why: str


class Joint(Frozen):
    """Where a container was joined to a kit."""

    kit: KitId
    port: PortId


class ContainerPlaced(Frozen):
    """A person says where a container is: carried away from a line, or found at it."""

    kind: Literal["container_placed"] = "container_placed"
    container: ContainerId
    label: str = Field(description="As it was read off the thing")
    place: str
    how: Literal["carried", "found"] = Field(description="Whether the person moved it there")
    why: str
    by: UserId
    sealed_off: Joint | None = Field(
        default=None, description="The joint that the person sealed and cut to carry it"
    )


class ContainerReleased(Frozen):
    """Quality let a quarantined container go back into use."""

    kind: Literal["container_released"] = "container_released"
    container: ContainerId
    signature: Signed


# The batch -------------------------------------------------------------------------------


class BatchMade(Frozen):
    """A recipe was bound to one therapy event, its containers and equipment."""

    kind: Literal["batch_made"] = "batch_made"
    batch: BatchId
    coi: CoiId
    recipe: RecipeDigest
    cell: str
    engine: str
    containers: tuple[Named, ...]
    kits: tuple[Named, ...]
    units: tuple[Named, ...]
    places: tuple[Named, ...]
    ordered: tuple[Named, ...]
    signature: Signed


class AmendedLimit(Frozen):
    """A recipe's time limit with other bounds; a running one goes on from where it began."""

    limit: str
    minimum: str = ""
    maximum: str = ""


class BatchAmended(Frozen):
    """One binding of a running batch was changed by two people, between its acts.

    ``recipe`` (a digest), ``engine`` (a version), ``cell`` (a digest) or ``equipment`` (a serial
    number). What has run stays as it was.
    """

    kind: Literal["batch_amended"] = "batch_amended"
    batch: BatchId
    amendment: str = Field(description="Its name within the batch, e.g. amendment-1")
    binding: Literal["recipe", "engine", "cell", "equipment"]
    old: str
    new: str
    at: str = Field(description="Path in the recipe, or the instrument; empty if it is the whole")
    changes: tuple[str, ...] = Field(description="What is different, a sentence each")
    containers: tuple[Named, ...] = Field(default=(), description="What an addendum binds besides")
    limits: tuple[AmendedLimit, ...] = ()
    reason: str
    signatures: tuple[Signed, ...] = Field(description="As performed, then as verified")


class AmendmentProposed(Frozen):
    """A person signed an amendment; nothing is changed until a second one does."""

    kind: Literal["amendment_proposed"] = "amendment_proposed"
    batch: BatchId
    amendment: str
    proposed: BatchAmended = Field(description="With the first signature alone")


class AmendmentRejected(Frozen):
    """A proposed amendment won't be made: somebody refused it or withdrew it."""

    kind: Literal["amendment_rejected"] = "amendment_rejected"
    batch: BatchId
    amendment: str
    why: str
    by: UserId


class BatchStartAsked(Frozen):
    """A person had the batch started: it is admitted as soon as its long leases are free."""

    kind: Literal["batch_start_asked"] = "batch_start_asked"
    batch: BatchId
    by: UserId


class BatchStarted(Frozen):
    """The batch was admitted with its long leases, and runs."""

    kind: Literal["batch_started"] = "batch_started"
    batch: BatchId


class BatchEnded(Frozen):
    """Every unit procedure has ended."""

    kind: Literal["batch_ended"] = "batch_ended"
    batch: BatchId
    how: Literal["complete", "stopped", "aborted"]


class BatchBroken(Frozen):
    """A resumed phase asked something else than the record holds; the batch stands still."""

    kind: Literal["batch_broken"] = "batch_broken"
    batch: BatchId
    path: PhasePath
    recorded: str
    asked: str


class BatchStoodStill(Frozen):
    """An error that nobody foresaw ended the batch's walk; the batch stands still."""

    kind: Literal["batch_stood_still"] = "batch_stood_still"
    batch: BatchId
    why: str


class BatchMended(Frozen):
    """What stood still walks again: what it asks agrees with the record."""

    kind: Literal["batch_mended"] = "batch_mended"
    batch: BatchId


class StateChanged(Frozen):
    """A command or a report moved a phase or a unit procedure to another state."""

    kind: Literal["state_changed"] = "state_changed"
    batch: BatchId
    path: PhasePath
    trigger: str
    why: str = ""
    by: UserId | None = None
    reason: str = Field(
        default="", description="A unit procedure may be held for several; each has a name"
    )


class BranchTaken(Frozen):
    """A ``When`` or a ``RepeatUntil`` decided."""

    kind: Literal["branch_taken"] = "branch_taken"
    batch: BatchId
    path: PhasePath
    branch: str
    because: str


class MomentPassed(Frozen):
    """An element that a lag names started or ended."""

    kind: Literal["moment_passed"] = "moment_passed"
    batch: BatchId
    path: PhasePath
    edge: Literal["start", "end"]


class ConditionEdge(Frozen):
    """A watched condition changed: in, out, stale or back."""

    kind: Literal["condition_edge"] = "condition_edge"
    batch: BatchId
    path: PhasePath
    edge: Literal["in", "out", "stale", "back"]
    value: str


class KeepSummary(Frozen):
    """One hour of a watched reading."""

    kind: Literal["keep_summary"] = "keep_summary"
    batch: BatchId
    path: PhasePath
    lowest: str
    highest: str
    samples: int


class TraceSealed(Frozen):
    """A chunk of a reading's trace was closed."""

    kind: Literal["trace_sealed"] = "trace_sealed"
    equipment: EquipmentId
    reading: str
    file: str
    first: Instant
    last: Instant
    samples: int
    sha256: str


# Phases: the words and their answers -------------------------------------------------------


class PhaseStarted(Frozen):
    """A phase began to run."""

    kind: Literal["phase_started"] = "phase_started"
    batch: BatchId
    path: PhasePath
    recipe: RecipeDigest
    phase: str = Field(description="Kind and behaviour version")


class PhaseEnded(Frozen):
    """A phase is complete; ``report`` is what it found."""

    kind: Literal["phase_ended"] = "phase_ended"
    batch: BatchId
    path: PhasePath
    report: Texts
    measured: tuple[Named, ...] = Field(
        default=(), description="The report's values by measured name"
    )


class PhaseFailed(Frozen):
    """A phase can't go on: what was known of the material stands in ``error``."""

    kind: Literal["phase_failed"] = "phase_failed"
    batch: BatchId
    path: PhasePath
    error: Texts


class AttemptIntended(Frozen):
    """An attempt may begin: what is asked, and what the device showed before."""

    kind: Literal["attempt_intended"] = "attempt_intended"
    batch: BatchId
    path: PhasePath
    word: int
    attempt: int
    command: CommandId
    equipment: EquipmentId
    asked: Value = Field(description="The whole act, as the phase asked it")
    act: Value | None = Field(default=None, description="What remained to do; None for all of it")
    before: Texts
    witness: str
    evidence: Texts
    proven: tuple[str, ...] = Field(default=(), description="What each proof rests on")


class AttemptSettled(Frozen):
    """An attempt ended with a known effect, shown by evidence."""

    kind: Literal["attempt_settled"] = "attempt_settled"
    batch: BatchId
    command: CommandId
    verdict: Literal["all", "part", "nothing"]
    done: str = ""
    detail: Texts = {}
    why: str = ""
    after: Texts
    witness: str
    evidence: Texts


class AttemptFailed(Frozen):
    """An attempt was refused or failed; ``done`` is the part that was done before."""

    kind: Literal["attempt_failed"] = "attempt_failed"
    batch: BatchId
    command: CommandId
    error: Texts
    done: str = ""
    detail: Texts = {}


class AttemptUncertain(Frozen):
    """Nobody knows yet what an attempt did. The unit procedure is held."""

    kind: Literal["attempt_uncertain"] = "attempt_uncertain"
    batch: BatchId
    command: CommandId
    why: str
    after: Texts = {}
    evidence: Texts = {}


class AttemptReconciled(Frozen):
    """Two people decided what an attempt in doubt had done."""

    kind: Literal["attempt_reconciled"] = "attempt_reconciled"
    batch: BatchId
    command: CommandId
    verdict: Literal["all", "part", "nothing"]
    done: str = ""
    detail: Texts = {}
    signatures: tuple[Signed, ...]


class AttemptReopened(Frozen):
    """A settled attempt is in doubt again: a person says that it was done after all."""

    kind: Literal["attempt_reopened"] = "attempt_reopened"
    batch: BatchId
    path: PhasePath
    word: int
    command: CommandId
    why: str


class ActRefused(Frozen):
    """Interlocks refused an act before its intent; all refusals are listed."""

    kind: Literal["act_refused"] = "act_refused"
    batch: BatchId
    path: PhasePath
    word: int
    refusals: tuple[str, ...]


class ActOverdue(Frozen):
    """An act takes longer than it claimed."""

    kind: Literal["act_overdue"] = "act_overdue"
    batch: BatchId
    command: CommandId


class Seen(Frozen):
    """A value that a phase decides on was read."""

    kind: Literal["seen"] = "seen"
    batch: BatchId
    path: PhasePath
    word: int
    reading: Value
    value: str


class ScanAwaited(Frozen):
    """A container must be scanned at a place before anything moves."""

    kind: Literal["scan_awaited"] = "scan_awaited"
    batch: BatchId
    path: PhasePath
    word: int
    container: ContainerId
    place: PlaceId
    scanner: EquipmentId
    which: Literal["", "old", "new"] = Field(
        default="",
        description="Of two labels that are read one after the other. ``new`` says that the old "
        "one was read just now",
    )


class IdentityProven(Frozen):
    """The gate made a proof. ``rests_on`` is ``scanned`` or ``carried from <seq>``.

    With ``read_first``, two labels were read by one scanner, that one and then ``label``, which
    counts from now on. It is evidence that somebody had both before it, not that they are on
    one thing: that is what a second person looked at.
    """

    kind: Literal["identity_proven"] = "identity_proven"
    batch: BatchId
    path: PhasePath
    word: int | None = Field(description="None: a fresh proof for an act, no word itself")
    reading: Value
    container: ContainerId
    place: PlaceId
    scanner: EquipmentId | None
    label: str
    rests_on: str
    read_first: str = ""


class IdentityRefused(Frozen):
    """The gate refused a scan. ``expected`` is a pseudonym; another patient's id isn't kept.

    ``word`` is None where a person read the label after its phase had ended.
    """

    kind: Literal["identity_refused"] = "identity_refused"
    batch: BatchId
    path: PhasePath
    word: int | None
    expected: ContainerId
    place: PlaceId
    scanner: EquipmentId | None
    label_sha256: str
    why: str


class WaitStarted(Frozen):
    """A phase waits; ``latest`` bounds it."""

    kind: Literal["wait_started"] = "wait_started"
    batch: BatchId
    path: PhasePath
    word: int
    instant: Instant | None
    condition: Value | None
    latest: Instant | None


class WaitEnded(Frozen):
    """What a phase waited for came."""

    kind: Literal["wait_ended"] = "wait_ended"
    batch: BatchId
    path: PhasePath
    word: int
    first: Literal["instant", "condition"]


# People's work -----------------------------------------------------------------------------


class TaskOffered(Frozen):
    """Work for people: hand work, an entry, a decision or a verification."""

    kind: Literal["task_offered"] = "task_offered"
    task: TaskId
    batch: BatchId | None
    path: PhasePath | None
    word: int | None
    work: Literal["do", "enter", "decide", "verify"]
    text: str
    ask: Value = Field(description="The question, or the act to do by hand")
    evidence: Texts = {}
    second_person: bool = False
    due: Instant | None = None


class TaskTaken(Frozen):
    """A person took it on."""

    kind: Literal["task_taken"] = "task_taken"
    task: TaskId
    by: UserId


class TaskReported(Frozen):
    """The person says it is done, with evidence; or declines, with a reason."""

    kind: Literal["task_reported"] = "task_reported"
    task: TaskId
    by: UserId
    values: Texts = {}
    choice: str = ""
    declined: str = ""
    signature: Signed | None = Field(
        default=None, description="Where the report is the first of two signatures"
    )


class TaskVerified(Frozen):
    """Another person verified it, by the labels that they read off what it was done on."""

    kind: Literal["task_verified"] = "task_verified"
    task: TaskId
    by: UserId
    read: tuple[str, ...] = ()
    of: int = Field(default=0, description="The event after which it was verified: its newest")
    signature: Signed | None = Field(
        default=None, description="None where what it settles bears the signature"
    )


class TaskReopened(Frozen):
    """What was reported doesn't stand: a second person found it otherwise."""

    kind: Literal["task_reopened"] = "task_reopened"
    task: TaskId
    by: UserId
    why: str


class TaskRejected(Frozen):
    """Hand work isn't as it was reported: what was done is in doubt."""

    kind: Literal["task_rejected"] = "task_rejected"
    task: TaskId
    by: UserId
    why: str


class TaskWithdrawn(Frozen):
    """Nobody need do it any more."""

    kind: Literal["task_withdrawn"] = "task_withdrawn"
    task: TaskId
    why: str


class TaskRecalled(Frozen):
    """Its unit procedure is told to rest while a person has it in hand: was it done?"""

    kind: Literal["task_recalled"] = "task_recalled"
    task: TaskId
    why: str


class TaskTakenBack(Frozen):
    """Somebody else ended that a person has it, who doesn't report it: nobody has it now.

    A question is offered again. Of hand work nobody knows whether it was begun: its attempt
    is in doubt.
    """

    kind: Literal["task_taken_back"] = "task_taken_back"
    task: TaskId
    by: UserId
    why: str


class HandWorkReportedLate(Frozen):
    """A person says that they did what was withdrawn, and somebody else had or did by then."""

    kind: Literal["hand_work_reported_late"] = "hand_work_reported_late"
    batch: BatchId
    path: PhasePath
    task: TaskId
    by: UserId
    values: Texts = {}
    against: TaskId = Field(description="The newest task for the same hand work")


class LateReportDecided(Frozen):
    """Two people said what a late report means.

    ``same``: the work was done once, and the report is of it. ``twice``: it was done besides.
    ``mistaken``: the person who reported it did nothing.
    """

    kind: Literal["late_report_decided"] = "late_report_decided"
    batch: BatchId
    task: TaskId
    verdict: Literal["same", "twice", "mistaken"]
    signatures: tuple[Signed, ...]


# Sharing the cell, limits, alarms, deviations ------------------------------------------------


class LeaseWanted(Frozen):
    """A batch waits for units or places."""

    kind: Literal["lease_wanted"] = "lease_wanted"
    batch: BatchId
    path: PhasePath
    resources: tuple[str, ...]
    least_time_left: Instant | None = None


class LeaseWithdrawn(Frozen):
    """A batch waits no more for what it wanted."""

    kind: Literal["lease_withdrawn"] = "lease_withdrawn"
    batch: BatchId
    path: PhasePath


class LeaseGranted(Frozen):
    """A batch owns units or places until it releases them."""

    kind: Literal["lease_granted"] = "lease_granted"
    batch: BatchId
    path: PhasePath
    coi: CoiId
    resources: tuple[str, ...]
    until: Literal["operation", "batch"]


class LeaseReleased(Frozen):
    """Units or places are free again, cleared as their rule asks."""

    kind: Literal["lease_released"] = "lease_released"
    batch: BatchId
    resources: tuple[str, ...]
    clearance: Literal["none", "automatic", "two people"]
    signatures: tuple[Signed, ...] = ()


class LimitStarted(Frozen):
    """A clock runs."""

    kind: Literal["limit_started"] = "limit_started"
    limit: str
    owner: str
    batch: BatchId | None = None
    minimum: str = ""
    maximum: str = ""
    tier: Literal["warn", "alarm", "block"]
    source: str


class LimitDue(Frozen):
    """A clock ran out."""

    kind: Literal["limit_due"] = "limit_due"
    limit: str


class LimitEnded(Frozen):
    """What the clock was for has come."""

    kind: Literal["limit_ended"] = "limit_ended"
    limit: str
    used: str


class AlarmRaised(Frozen):
    """Somebody must act."""

    kind: Literal["alarm_raised"] = "alarm_raised"
    alarm: str
    tier: Literal["warn", "alarm", "block"]
    cause: str
    consequence: str
    action: str
    batch: BatchId | None = None


class AlarmAcknowledged(Frozen):
    """A person has seen it."""

    kind: Literal["alarm_acknowledged"] = "alarm_acknowledged"
    alarm: str
    by: UserId


class AlarmCleared(Frozen):
    """Its cause is gone."""

    kind: Literal["alarm_cleared"] = "alarm_cleared"
    alarm: str


class DeviationOpened(Frozen):
    """A departure from the recipe, opened by the system or a person."""

    kind: Literal["deviation_opened"] = "deviation_opened"
    deviation: str
    batch: BatchId
    path: PhasePath | None
    text: str
    limit: str = Field(default="", description="The limit that it waives once closed, if any")
    by: UserId | None = None


class DeviationClosed(Frozen):
    """Another person closed it, with a reason."""

    kind: Literal["deviation_closed"] = "deviation_closed"
    deviation: str
    signature: Signed


AnyEvent = Annotated[
    HostStarted
    | HostStopped
    | JournalLatched
    | JournalWitnessed
    | ClockJumped
    | ClockSynchronised
    | ClockDoubted
    | TimeSigned
    | JournalRestored
    | EquipmentSeen
    | EquipmentQuieted
    | OutsideActSeen
    | PersonAdded
    | SessionOpened
    | SessionClosed
    | LoginRefused
    | CommandAnswered
    | RecipeSubmitted
    | RecipeSigned
    | LotReceived
    | LotQuarantined
    | ContainerReceived
    | ContainerQuarantined
    | ContainerPlaced
    | ContainerReleased
    | BatchMade
    | AmendmentProposed
    | BatchAmended
    | AmendmentRejected
    | BatchStartAsked
    | BatchStarted
    | BatchEnded
    | BatchBroken
    | BatchStoodStill
    | BatchMended
    | StateChanged
    | BranchTaken
    | MomentPassed
    | ConditionEdge
    | KeepSummary
    | TraceSealed
    | PhaseStarted
    | PhaseEnded
    | PhaseFailed
    | AttemptIntended
    | AttemptSettled
    | AttemptFailed
    | AttemptUncertain
    | AttemptReconciled
    | AttemptReopened
    | ActRefused
    | ActOverdue
    | Seen
    | ScanAwaited
    | IdentityProven
    | IdentityRefused
    | WaitStarted
    | WaitEnded
    | TaskOffered
    | TaskTaken
    | TaskReported
    | TaskVerified
    | TaskReopened
    | TaskRejected
    | TaskWithdrawn
    | TaskRecalled
    | TaskTakenBack
    | HandWorkReportedLate
    | LateReportDecided
    | LeaseWanted
    | LeaseWithdrawn
    | LeaseGranted
    | LeaseReleased
    | LimitStarted
    | LimitDue
    | LimitEnded
    | AlarmRaised
    | AlarmAcknowledged
    | AlarmCleared
    | DeviationOpened
    | DeviationClosed,
    Field(discriminator="kind"),
]

EVENTS: Final[TypeAdapter[AnyEvent]] = TypeAdapter(AnyEvent)
"""Validates and reads any event; see ``docs/reference/journal.md``."""

HOST: Final = "host"
"""The stream of what belongs to no single batch."""
