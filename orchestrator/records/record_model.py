"""What a batch record holds, under names that other programs may rely on.

``BatchRecord`` is one frozen value. Its JSON is what ``cellwright report --json`` prints,
and comes back as the same value. Amounts are decimal text with their unit, instants are
UTC with their zone, ``seq`` is the journal's number of the event that an entry rests on.
A name never changes its meaning; a field may be added, and then ``format`` counts on.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.instants import Instant

Texts = dict[str, str]


class SignatureEntry(Frozen):
    """A signature, and whether it was given on the entry where it stands."""

    on: str
    signer: str
    name: str
    meaning: str
    at: Instant
    reason: str
    digest: str
    fits: bool
    seq: int


class RecipeEntry(Frozen):
    """The master recipe that was run, by the digest of its bytes in the journal."""

    title: str
    document: str
    version: str
    digest: str
    author: str
    content_matches: bool = Field(description="Whether the stored bytes have that digest")
    signatures: tuple[SignatureEntry, ...]


class Binding(Frozen):
    """A name in the recipe and what it stands for in this batch."""

    kind: str = Field(description="container, kit, unit, place or ordered")
    name: str
    stands_for: str


class PersonEntry(Frozen):
    """A person who did, verified or signed something here."""

    user: str
    name: str
    roles: tuple[str, ...]


class MaterialEntry(Frozen):
    """A container of material, its lot, and what was used of it."""

    container: str
    recipe_name: str
    what: str
    material: str
    label: str
    lot: str
    expires: Instant | None
    received_at: Instant | None
    received_by: str
    received_volume: str
    used: str = Field(description="What the pump drew out of it, as settled")
    opened_at: Instant | None
    last_used_at: Instant | None
    in_use: str = Field(description="From its first use to its last, within this batch")
    in_use_limit: str
    expired_in_use: bool


class Shown(Frozen):
    """What a device said that it is, from one moment on."""

    at: Instant
    model: str
    serial: str
    firmware: str
    seq: int


class EquipmentEntry(Frozen):
    """An instrument that acted, measured or scanned in this batch."""

    equipment: str
    model: str
    serial: str
    firmware: str
    shown: tuple[Shown, ...] = Field(description="Each time its identity was read and differed")
    acts: int
    readings: int
    first_used: Instant
    last_used: Instant
    calibration_due: str = Field(default="", description="Empty: the journal doesn't hold it")


# The procedure -----------------------------------------------------------------------------


class IdentityEntry(Frozen):
    """A proof by the identity gate: a scan, or one carried on unbroken."""

    entry: Literal["identity"] = "identity"
    seq: int
    at: Instant
    container: str
    place: str
    label: str
    scanner: str
    rests_on: str
    read_first: str = Field(
        default="", description="The label that the same scanner read just before"
    )


class IdentityRefusedEntry(Frozen):
    """A scan that the gate refused. Nothing moved on it."""

    entry: Literal["identity_refused"] = "identity_refused"
    seq: int
    at: Instant
    path: str
    expected: str
    place: str
    scanner: str
    why: str


class AttemptEntry(Frozen):
    """One attempt of an act, from its intent to its evidence."""

    seq: int
    command: str
    intended_at: Instant
    ended_at: Instant | None
    ended_seq: int | None
    outcome: Literal["all", "part", "nothing", "failed", "uncertain", "open"]
    decided: Literal["evidence", "people", "nobody"]
    remained: Texts = Field(description="What was left to do, where it isn't the whole act")
    done: str
    detail: Texts
    why: str
    before: Texts
    after: Texts
    evidence_before: Texts
    evidence_after: Texts
    proven: tuple[str, ...]
    overdue: bool
    performed_by: str
    performed_at: Instant | None
    verified_by: str
    verified_at: Instant | None
    verified_read: tuple[str, ...] = Field(
        default=(), description="The labels that the verifier read there"
    )


class ActEntry(Frozen):
    """Something physical, asked once of one instrument or of hands."""

    entry: Literal["act"] = "act"
    seq: int
    at: Instant
    word: int
    act: str
    equipment: str
    firmware: str
    parameters: Texts
    asked: str
    done: str
    weighed: str
    settled: bool
    attempts: tuple[AttemptEntry, ...]


class ActRefusedEntry(Frozen):
    """Interlocks refused an act before its intent. Nothing moved."""

    entry: Literal["act_refused"] = "act_refused"
    seq: int
    at: Instant
    path: str
    refusals: tuple[str, ...]


class SeenEntry(Frozen):
    """A value that the phase decided on."""

    entry: Literal["seen"] = "seen"
    seq: int
    at: Instant
    reading: str
    unit: str
    part: str
    value: str


class WaitEntry(Frozen):
    """A wait, for an instant or for a condition."""

    entry: Literal["wait"] = "wait"
    seq: int
    at: Instant
    waited_for: str
    ended_at: Instant | None
    came_first: str


class AnswerEntry(Frozen):
    """What people were asked, and what they answered."""

    entry: Literal["answer"] = "answer"
    seq: int
    at: Instant
    task: str
    question: str
    evidence: Texts
    choice: str
    values: Texts
    declined: tuple[str, ...]
    second_person: bool
    answered_by: str
    answered_at: Instant | None
    verified_by: str
    verified_at: Instant | None


class FailureEntry(Frozen):
    """The phase couldn't go on, and what was known of the material then."""

    entry: Literal["failure"] = "failure"
    seq: int
    at: Instant
    error: Texts


class StateEntry(Frozen):
    """A command or a report moved the phase to another state."""

    entry: Literal["state"] = "state"
    seq: int
    at: Instant
    trigger: str
    why: str
    by: str


Entry = Annotated[
    IdentityEntry
    | IdentityRefusedEntry
    | ActEntry
    | ActRefusedEntry
    | SeenEntry
    | WaitEntry
    | AnswerEntry
    | FailureEntry
    | StateEntry,
    Field(discriminator="entry"),
]


class CalculationEntry(Frozen):
    """A calculated amount: its formula with version, the numbers in it, and the result."""

    amount: str
    formula: str
    told: str
    result: str


class Verification(Frozen):
    """Who verified a phase: within it, or afterwards by a task of its own."""

    how: Literal["within the phase", "afterwards", "none"]
    by: tuple[str, ...]
    at: Instant | None
    due: Instant | None


class PhaseEntry(Frozen):
    """One phase as it was run."""

    number: str
    path: str
    name: str
    phase: str
    sentence: str
    started_at: Instant
    started_seq: int
    ended_at: Instant | None
    ended_seq: int | None
    state: str
    duration: str
    performed_by: tuple[str, ...]
    verification: Verification
    calculations: tuple[CalculationEntry, ...]
    entries: tuple[Entry, ...]
    report: Texts
    measured: Texts


class NotBegun(Frozen):
    """A step of the recipe without a phase in the record."""

    number: str
    path: str
    sentence: str
    why: Literal["branch not taken", "not begun"]


class DecisionEntry(Frozen):
    """The way that a ``When`` or a ``RepeatUntil`` took."""

    seq: int
    at: Instant
    path: str
    name: str
    condition: str
    branch: str
    because: str


# What was watched ----------------------------------------------------------------------------


class EdgeEntry(Frozen):
    """A watched condition changed."""

    seq: int
    at: Instant
    edge: str
    value: str


class HourEntry(Frozen):
    """One hour of a watched reading."""

    seq: int
    at: Instant
    lowest: str
    highest: str
    samples: int


class ConditionEntry(Frozen):
    """A condition that was kept watch of while a part of the procedure ran."""

    path: str
    name: str
    reading: str
    lowest_allowed: str
    highest_allowed: str
    tier: str
    source: str
    lowest: str
    highest: str
    samples: int
    edges: tuple[EdgeEntry, ...]
    hours: tuple[HourEntry, ...]


class ClockEntry(Frozen):
    """A clock: how much of it was used, and how much was left."""

    clock: str
    started_at: Instant
    started_seq: int
    ended_at: Instant | None
    minimum: str
    maximum: str
    used: str
    left: str
    ran_out_at: Instant | None
    tier: str
    source: str


class AlarmEntry(Frozen):
    """An alarm, from raised to acknowledged and cleared."""

    seq: int
    alarm: str
    tier: str
    cause: str
    consequence: str
    action: str
    raised_at: Instant
    acknowledged_by: str
    acknowledged_at: Instant | None
    cleared_at: Instant | None


class HoldEntry(Frozen):
    """A time in which a phase stood still."""

    path: str
    kind: Literal["hold", "pause", "stop", "abort"]
    since: Instant
    seq: int
    why: str
    commanded_by: str
    until: Instant | None
    ended: str
    ended_by: str


class DeviationEntry(Frozen):
    """A departure from the recipe, and who closed it."""

    deviation: str
    path: str
    text: str
    opened_by: str
    opened_at: Instant
    seq: int
    closed: SignatureEntry | None


class ReconciliationEntry(Frozen):
    """An attempt in doubt, and what two people decided of it."""

    seq: int
    at: Instant
    command: str
    equipment: str
    doubt: str
    verdict: str
    done: str
    signatures: tuple[SignatureEntry, ...]


class AmendmentEntry(Frozen):
    """A binding of the batch that was changed while it ran, or was to be."""

    seq: int
    amendment: str
    binding: str
    old: str
    new: str
    at: str
    changes: tuple[str, ...]
    reason: str
    proposed_by: str
    proposed_at: Instant
    status: Literal["proposed", "made", "rejected"]
    decided_at: Instant | None
    why_not: str
    signatures: tuple[SignatureEntry, ...]


class OutsideActEntry(Frozen):
    """What an instrument of this batch showed that no recorded act explains."""

    seq: int
    at: Instant
    equipment: str
    value: str
    was: str
    shown: str


class InterruptionEntry(Frozen):
    """The software started again while the batch ran."""

    seq: int
    at: Instant
    version: str
    cell: str
    last_event_before: Instant


class ClearanceEntry(Frozen):
    """A lease that ended, and how the line was cleared."""

    seq: int
    at: Instant
    resources: tuple[str, ...]
    clearance: str
    signatures: tuple[SignatureEntry, ...]


# What came out -------------------------------------------------------------------------------


class CountEntry(Frozen):
    """One count of one sample; every result stands here."""

    seq: int
    at: Instant
    path: str
    sample: str
    of: str
    result: str
    viable_density: str
    viability: str
    cd3: str
    engineered: str
    volume: str = Field(description="What the counted container held then, by the pump's record")
    viable_cells: str
    expected_density: str
    expected_viability: str
    within: bool | None


class YieldEntry(Frozen):
    """A yield, what was expected and from where, and how it was found."""

    name: str
    found: str
    expected: str
    expected_from: str
    percent_of_expected: str
    within: bool | None
    how: str


class LiquidEntry(Frozen):
    """What the pump was asked to move in a phase, what it moved, and what balances saw of it."""

    number: str
    path: str
    asked: str
    moved: str
    percent: str
    within: bool
    weighed: str
    acts: int
    acts_weighed: int


class LabelEntry(Frozen):
    """A label stuck on a container, and its scan back."""

    seq: int
    at: Instant
    container: str
    label: str
    applied_by: str
    verified_by: str
    scanned_back_at: Instant | None


class ContainerEntry(Frozen):
    """Where a container of this batch is, and what it holds, at the end of this record."""

    container: str
    recipe_name: str
    what: str
    label: str
    volume: str
    place: str
    kit: str
    port: str
    quarantined: str


class PartEntry(Frozen):
    """Material that was split off, pooled, sampled or selected into a container of its own."""

    seq: int
    kind: str
    source: str
    target: str
    volume: str = Field(description="Empty where nobody can read how much it was")
    measured: str = Field(default="", description="By what: weighed, counted, reported or as asked")
    error: str = Field(default="", description="How far off that may be, where it is stated")


class LossEntry(Frozen):
    """Material that left a container and went into none: declared."""

    seq: int
    container: str
    volume: str
    why: str
    calculated_from: str = Field(
        default="", description="The amounts whose difference it is; empty if it was measured"
    )


class GainEntry(Frozen):
    """Material that came into a container from none of the batch's: declared."""

    seq: int
    container: str
    volume: str
    why: str
    calculated_from: str = Field(description="The amounts whose difference it is")


class UnreadableEntry(Frozen):
    """An amount that stands in the journal, and that nobody can read as one."""

    seq: int
    container: str
    text: str
    why: str


class AccountEntry(Frozen):
    """One container's volumes: came in, less went out, lost and unexplained, is held.

    Empty where something came or went whose volume nobody knew.
    """

    container: str
    recipe_name: str
    donations: tuple[str, ...] = Field(description="Donations of which something is or was in it")
    came_in: str = ""
    went_out: str = ""
    lost: str = ""
    unexplained: str = ""
    held: str = ""
    error: str = Field(
        default="", description="How far ``held`` may be off because of its pumped volumes"
    )
    discrepancies: tuple[int, ...] = Field(
        default=(), description="Events at which the difference had to be investigated"
    )


class GenealogyEntry(Frozen):
    """What came of the material, and whether it adds up."""

    parts: tuple[PartEntry, ...]
    losses: tuple[LossEntry, ...]
    gains: tuple[GainEntry, ...] = ()
    unreadable: tuple[UnreadableEntry, ...] = ()
    accounts: tuple[AccountEntry, ...]
    never_received: tuple[str, ...]


class OpenTask(Frozen):
    """Work that people still owe."""

    task: str
    work: str
    status: str
    text: str
    due: Instant | None


class TraceEntry(Frozen):
    """A sealed chunk of readings, by the hash of its columns."""

    seq: int
    equipment: str
    reading: str
    file: str
    first: Instant
    last: Instant
    samples: int
    sha256: str


class JournalVerification(Frozen):
    """What ``verify`` found of the journal that this record was made from."""

    sound: bool
    events: int
    merkle_root: str
    anchored_to: str
    first_bad_seq: int | None
    problems: tuple[str, ...]
    unanchored_from: int | None
    record_to_seq: int = Field(description="The last event that this record rests on")


class OpenItem(Frozen):
    """Something that stands against calling the record complete."""

    item: str
    text: str


class Summary(Frozen):
    """The figures of the first page."""

    phases: int
    acts: int
    attempts: int
    events: int
    identity_checks: int
    scanned: int
    carried: int
    refused: int
    holds: int
    deviations: int
    alarms: int
    reconciliations: int
    signatures: int
    cells_seeded: str
    fold_expansion: str
    viable_cells_harvested: str
    viable_cells_out: str
    viability: str
    engineered: str


class BatchRecord(Frozen):
    """One batch, from the journal alone."""

    format: Literal["batch_record/2"] = "batch_record/2"
    batch: str
    therapy_event: str
    status: str
    state: str
    made_at: Instant
    start_asked_by: str
    start_asked_at: Instant | None
    started_at: Instant | None
    ended_at: Instant | None
    engine: str
    cell: str
    recipe: RecipeEntry
    order: SignatureEntry
    bound: tuple[Binding, ...]
    people: tuple[PersonEntry, ...]
    summary: Summary
    open: tuple[OpenItem, ...]
    not_recorded: tuple[str, ...]
    materials: tuple[MaterialEntry, ...]
    equipment: tuple[EquipmentEntry, ...]
    procedure: tuple[PhaseEntry, ...]
    not_begun: tuple[NotBegun, ...]
    decisions: tuple[DecisionEntry, ...]
    conditions: tuple[ConditionEntry, ...]
    clocks: tuple[ClockEntry, ...]
    alarms: tuple[AlarmEntry, ...]
    holds: tuple[HoldEntry, ...]
    deviations: tuple[DeviationEntry, ...]
    reconciliations: tuple[ReconciliationEntry, ...]
    amendments: tuple[AmendmentEntry, ...] = ()
    outside_acts: tuple[OutsideActEntry, ...]
    interruptions: tuple[InterruptionEntry, ...]
    clearances: tuple[ClearanceEntry, ...]
    counts: tuple[CountEntry, ...]
    yields: tuple[YieldEntry, ...]
    liquids: tuple[LiquidEntry, ...]
    labels: tuple[LabelEntry, ...]
    containers: tuple[ContainerEntry, ...]
    genealogy: GenealogyEntry
    open_tasks: tuple[OpenTask, ...]
    changed_entries: tuple[str, ...] = Field(
        description="Entries changed since they were first made; this version records no change"
    )
    traces: tuple[TraceEntry, ...]
    signatures: tuple[SignatureEntry, ...]
    verification: JournalVerification

    def phase_at(self, path: str) -> PhaseEntry | None:
        """Return the phase that ran at a path, if it did."""
        return next((phase for phase in self.procedure if phase.path == path), None)
