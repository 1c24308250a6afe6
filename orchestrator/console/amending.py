"""Amendments: what a running batch is bound to, changed by two people between its acts.

One person proposes and signs as performed; another, of quality, signs as verified or rejects.
What they sign is the whole: the recipe as it would be was checked by every rule, and each open
phase was gone through on its recorded answers. It is drafted anew when the second signs, so
that nobody signs what has become another meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError

from orchestrator.console.office import Office
from orchestrator.console.old_views import refuse_old_view
from orchestrator.console.orders import Ordering, wrong_units
from orchestrator.engine.amending import begun_of
from orchestrator.engine.engine import Engine
from orchestrator.engine.rehearsal import rehearse
from orchestrator.engine.state import AmendmentState, BatchState
from orchestrator.journal.events import (
    AmendedLimit,
    AmendmentProposed,
    AmendmentRejected,
    AnyEvent,
    BatchAmended,
    Named,
    RecipeSubmitted,
    Signed,
)
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, UserId
from orchestrator.people.roles import require_other_person
from orchestrator.people.signatures import require_two_people
from orchestrator.recipe.amend import Addendum, amended, new_containers, require_kept
from orchestrator.recipe.check import Finding, check_recipe
from orchestrator.recipe.compare import diff
from orchestrator.recipe.model import Operation, Recipe, Step

_ADDENDUM: Final[TypeAdapter[Addendum]] = TypeAdapter(Addendum)

_AGAIN: Final = "Look at it again with `cellwright amend BATCH ... --check`"


@dataclass(frozen=True, slots=True)
class Draft:
    """An amendment as it would be, and what stands against it."""

    event: BatchAmended
    """Without signatures, and with the reason that was given."""
    recipe: Recipe | None
    """As it would be; None where another binding is changed."""
    findings: tuple[Finding, ...]
    """What the rules find in it that they don't find in what the batch is bound to."""
    problems: tuple[str, ...]

    @property
    def against(self) -> tuple[str, ...]:
        """Return why it can't be made; empty if nothing stands against it."""
        refused = [f"{one.rule} {one.text}" for one in self.findings if one.severity == "refuse"]
        return (*self.problems, *refused)


async def drafted(engine: Engine, asked: Mapping[str, Any], reason: str) -> Draft:
    """Return an amendment as it would be now.

    Args:
        engine: Whose batch is amended.
        asked: ``batch``, ``binding``, and what it takes: ``addendum`` with ``content`` and
            ``use`` for a recipe, ``equipment`` for an instrument.
        reason: Why, in one line.

    Raises:
        RefusedError: There is no such batch, or what is asked for isn't one of these.
        RecipeRefusedError: The addendum doesn't fit where it is to stand.
    """
    batch = BatchId(str(asked["batch"]))
    known = engine.core.state.batches.get(batch)
    if known is None:
        raise RefusedError(
            f"amend batch {batch}",
            why="there is none of that name",
            do_next="Look at the batches, and amend one that runs",
        )
    name = f"amendment-{len(known.amendments) + 1}"
    match asked["binding"]:
        case "recipe":
            return _of_recipe(engine, batch, name, asked, reason)
        case "engine" | "cell":
            return await _of_host(engine, batch, name, str(asked["binding"]), reason)
        case "equipment":
            return await _of_equipment(engine, batch, name, str(asked["equipment"]), reason)
        case other:
            raise RefusedError(
                f"amend batch {batch}",
                why=f"it has no binding {str(other)!r}",
                do_next="Amend its recipe, engine, cell or equipment",
            )


def _of_recipe(
    engine: Engine, batch: BatchId, name: str, asked: Mapping[str, Any], reason: str
) -> Draft:
    state = engine.core.state
    known = state.batches[batch]
    old = engine.recipe_by_digest(known.recipe)
    addendum = _addendum(batch, asked)
    number = len(known.amendments) + 1
    made = amended(old, addendum, number=number, batch=batch, begun=begun_of(known))
    new = made.recipe
    containers, problems = _bound(engine, known, old, new, dict(asked.get("use", {})))
    event = BatchAmended(
        batch=batch,
        amendment=name,
        binding="recipe",
        old=old.digest,
        new=new.digest,
        at=made.at,
        changes=tuple(one for one in diff(old, new) if not one.startswith("Version:")),
        containers=containers,
        limits=tuple(
            AmendedLimit(
                limit=f"{batch}/{one.name}",
                minimum="" if one.minimum is None else str(one.minimum),
                maximum="" if one.maximum is None else str(one.maximum),
            )
            for one in made.lengthened
        ),
        reason=reason,
        signatures=(),
    )
    return Draft(event, new, _new_findings(engine, old, new), tuple(problems))


def _addendum(batch: str, asked: Mapping[str, Any]) -> Addendum:
    told = dict(asked["addendum"])
    if asked.get("content"):
        told["content"] = asked["content"]
    try:
        return _ADDENDUM.validate_python(told)
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise RefusedError(
            f"amend batch {batch}",
            why=f"{where}: {first['msg']}",
            do_next="Ask as docs/reference/console.md says",
        ) from wrong


def _bound(
    engine: Engine, known: BatchState, old: Recipe, new: Recipe, use: dict[str, str]
) -> tuple[tuple[Named, ...], list[str]]:
    """Return what an addendum binds besides, and what can't be found for it."""
    core = engine.core
    words = new_containers(old, new)
    ordering = Ordering(core.state, core.cell.config, core.clock.utc(), known.coi, use, {})
    problems = [f"the addendum has no new {name!r}" for name in use if name not in words]
    found = ordering.of_materials([one for one in new.materials if one.name in words])
    named = tuple(Named(name=one.name, is_=str(one.container)) for one in found)
    return named, [*problems, *ordering.problems]


def _new_findings(engine: Engine, old: Recipe, new: Recipe) -> tuple[Finding, ...]:
    config = engine.core.cell.config
    told = {(one.rule, one.text) for one in check_recipe(old, config)}
    return tuple(one for one in check_recipe(new, config) if (one.rule, one.text) not in told)


async def _of_host(engine: Engine, batch: BatchId, name: str, binding: str, reason: str) -> Draft:
    """Return the amendment that binds a batch to the version or the cell file that runs."""
    core, amending = engine.core, engine.amending
    known = core.state.batches[batch]
    old, new = (
        (known.engine, amending.version) if binding == "engine" else (known.cell, core.cell.digest)
    )
    recipe = engine.recipe_by_digest(known.recipe)
    problems = [f"it is bound to this {binding} already"] if old == new else []
    contents = {known.recipe: recipe.content.decode()}
    gone = await rehearse(core.state, core.cell.config, contents, only=batch)
    problems += [f"{one.path}: {one.why}" for one in gone if not one.agrees]
    findings: tuple[Finding, ...] = ()
    if binding == "cell":
        problems += wrong_units(core.cell.config, recipe, known.units, known.places)
        anywhere = {(one.rule, one.text) for one in check_recipe(recipe)}
        found = check_recipe(recipe, core.cell.config)
        findings = tuple(one for one in found if (one.rule, one.text) not in anywhere)
    event = BatchAmended.model_validate(
        {
            "batch": batch,
            "amendment": name,
            "binding": binding,
            "old": old,
            "new": new,
            "at": "",
            "changes": (
                f"The batch goes on under version {new} instead of {old}."
                if binding == "engine"
                else "The batch goes on in the process cell as its file describes it now.",
            ),
            "reason": reason,
            "signatures": (),
        }
    )
    return Draft(event, None, findings, tuple(problems))


async def _of_equipment(
    engine: Engine, batch: BatchId, name: str, equipment: str, reason: str
) -> Draft:
    """Return the amendment that binds a batch to the instrument that answers now."""
    core = engine.core
    known = core.state.batches[batch]
    driver = core.drivers.get(equipment)
    if driver is None:
        raise RefusedError(
            f"amend batch {batch}",
            why=f"the cell has no instrument {equipment!r}",
            do_next=f"Name one of {', '.join(sorted(core.drivers))}",
        )
    old = known.serials.get(equipment, "")
    shown = (await driver.identify()).serial
    problems: list[str] = []
    if not shown or not old:
        problems.append(f"{equipment} tells no serial number, so no batch is bound to one")
    elif shown == old:
        problems.append(f"it is bound to {equipment} with the serial number {old} already")
    event = BatchAmended(
        batch=batch,
        amendment=name,
        binding="equipment",
        old=old,
        new=shown,
        at=equipment,
        changes=(f"{equipment} is the instrument {shown or 'without number'} instead of {old}.",),
        reason=reason,
        signatures=(),
    )
    return Draft(event, None, (), tuple(problems))


async def amendment_view(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return what an amendment would change, for a person to read before they sign."""
    asked = asked_of(arguments)
    draft = await drafted(engine, asked, "")
    event = draft.event
    try:
        engine.amending.refuse_unless_at_rest("amend it", event.batch)
        waits = ""
    except RefusedError as moving:
        waits = f"{moving.why}. {moving.do_next}"
    return {
        "amendment": event.amendment,
        "binding": event.binding,
        "old": event.old,
        "new": event.new,
        "at": event.at,
        "changes": list(event.changes),
        "containers": {one.name: one.is_ for one in event.containers},
        "findings": [one.as_json() for one in draft.findings],
        "against": list(draft.against),
        "waits": waits,
    }


def amendments_view(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return a batch's amendments, and where its procedure has come to."""
    batch = arguments.get("batch", "")
    known = engine.core.state.batches.get(batch)
    if known is None:
        raise RefusedError(
            f"show the amendments of {batch!r}",
            why="there is no batch of that name",
            do_next="Look at the batches",
        )
    begun = begun_of(known)
    done = {path for path, one in known.phases.items() if one.ended_at is not None}
    recipe = engine.recipe_of(batch)
    return {
        "batch": batch,
        "document": f"{recipe.document} version {recipe.version}",
        "strange": [why for _, why in engine.amending.strange(batch)]
        if known.status == "running"
        else [],
        "amendments": [_told(name, one) for name, one in known.amendments.items()],
        "elements": [
            {
                "path": path,
                "name": node.name,
                "stands": "ended"
                if path in begun.ended or path in done
                else "begun"
                if begun.has(path)
                else "to come",
            }
            for path, node in recipe.nodes.items()
            if isinstance(node, Step | Operation)
        ],
    }


def _told(name: str, one: AmendmentState) -> dict[str, Any]:
    return {
        "amendment": name,
        "binding": one.binding,
        "old": one.old,
        "new": one.new,
        "at": one.at,
        "changes": list(one.changes),
        "reason": one.reason,
        "status": one.status,
        "proposed_by": one.proposed_by,
        "proposed_at": str(one.proposed_at),
        "decided_by": one.decided_by,
        "why_not": one.why_not,
    }


class Amendments:
    """Proposes, makes and rejects amendments."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core
        self._engine = office.engine

    async def propose(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Sign an amendment as performed; it isn't made before another person verifies it."""
        reason = str(arguments["reason"]).strip()
        draft = await drafted(self._engine, arguments, reason)
        batch = draft.event.batch
        what = f"amend batch {batch}"
        refuse_old_view(what, self._core.state.batches[batch].changed, arguments)
        if not reason:
            raise RefusedError(what, why="an amendment says why", do_next="Give a reason")
        self._refuse_unfit(what, draft)
        self._refuse_second(what, batch)
        self._engine.amending.refuse_unless_at_rest(what, batch)
        events: list[AnyEvent] = []
        if draft.recipe is not None:
            recipe = draft.recipe
            events.append(
                await self._office.signed(
                    user, arguments, lambda by: _submitted(recipe, by), "authored", reason
                )
            )
        mine = await self._office.sign(user, arguments, draft.event, "performed", reason)
        again = await drafted(self._engine, arguments, reason)  # the password took a while
        if again.event != draft.event:
            raise RefusedError(what, why="it would be another by now", do_next=_AGAIN)
        self._refuse_second(what, batch)
        self._engine.amending.refuse_unless_at_rest(what, batch)
        proposed = draft.event.model_copy(update={"signatures": (mine,)})
        events.append(
            AmendmentProposed(batch=batch, amendment=draft.event.amendment, proposed=proposed)
        )
        return await self._core.record(batch, *events, answer=arguments["answer"])

    async def verify(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Sign a proposed amendment as verified, by another person, and make it."""
        batch, name, known = self._proposed(arguments)
        what = f"verify {name} of batch {batch}"
        self._refuse_own(what, known, user)
        proposed = self._event_of(known)
        await self._refuse_changed(what, proposed)
        mine = await self._office.sign(
            user,
            arguments,
            proposed.model_copy(update={"signatures": ()}),
            "verified",
            proposed.reason,
        )
        self._proposed(arguments)  # the password took a while: it must still stand
        await self._refuse_changed(what, proposed)
        event = proposed.model_copy(update={"signatures": (*proposed.signatures, mine)})
        require_two_people(what, event.signatures)
        return await self._engine.amending.amend(event, arguments["answer"])

    async def reject(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Refuse a proposed amendment, or withdraw one's own."""
        batch, name, _ = self._proposed(arguments)
        why = str(arguments["why"]).strip()
        if not why:
            raise RefusedError(
                f"reject {name} of batch {batch}", why="a rejection says why", do_next="Say why"
            )
        event = AmendmentRejected(batch=batch, amendment=name, why=why, by=user)
        return await self._core.record(batch, event, answer=arguments["answer"])

    def _proposed(self, arguments: Mapping[str, Any]) -> tuple[BatchId, str, AmendmentState]:
        batch, name = BatchId(str(arguments["batch"])), str(arguments["amendment"])
        known = self._core.state.batches.get(batch)
        found = None if known is None else known.amendments.get(name)
        if known is None or found is None or found.status != "proposed":
            why = "nobody proposed it" if found is None else f"it was {found.status} already"
            raise RefusedError(
                f"decide on {name} of batch {batch}",
                why=why,
                do_next="Look at the batch's amendments",
            )
        refuse_old_view(f"decide on {name} of batch {batch}", found.seq, arguments)
        return batch, name, found

    def _refuse_own(self, what: str, known: AmendmentState, user: UserId) -> None:
        require_other_person(
            what,
            first=UserId(known.proposed_by),
            did="proposed",
            now=user,
            does="verifies",
            called=self._core.state.people[user].printed_name,
        )

    def _event_of(self, known: AmendmentState) -> BatchAmended:
        event = next(self._core.journal.events(known.seq)).event
        if not isinstance(event, AmendmentProposed):
            raise RefusedError(
                "read the amendment",
                why=f"event {known.seq} isn't its proposal",
                do_next="Run `cellwright verify` on the journal",
            )
        return event.proposed

    async def _refuse_changed(self, what: str, proposed: BatchAmended) -> None:
        """Refuse what doesn't fit the batch any more, as it stands by now."""
        engine, batch = self._engine, proposed.batch
        known = self._core.state.batches[batch]
        engine.amending.refuse_unless_at_rest(what, batch)
        if proposed.binding == "recipe":
            if known.recipe != proposed.old:
                self._outdated(what, "the batch was amended otherwise since")
            old, new = (engine.recipe_by_digest(one) for one in (proposed.old, proposed.new))
            require_kept(what, old, new, begun_of(known))
            core = self._core
            words = {one.name: one.is_ for one in proposed.containers}
            ordering = Ordering(
                core.state, core.cell.config, core.clock.utc(), known.coi, words, {}
            )
            ordering.of_materials([one for one in new.materials if one.name in words])
            draft = Draft(proposed, new, _new_findings(engine, old, new), tuple(ordering.problems))
        else:
            asked = {"batch": batch, "binding": proposed.binding, "equipment": proposed.at}
            draft = await drafted(engine, asked, proposed.reason)
            if (draft.event.old, draft.event.new) != (proposed.old, proposed.new):
                self._outdated(what, "what it is to be bound to is another by now")
        self._refuse_unfit(what, draft)

    def _outdated(self, what: str, why: str) -> None:
        raise RefusedError(what, why=why, do_next="Reject it, and have it proposed anew")

    def _refuse_unfit(self, what: str, draft: Draft) -> None:
        against = draft.against
        if against:
            more = f"; and {len(against) - 5} more" if len(against) > 5 else ""
            raise RefusedError(what, why="; ".join(against[:5]) + more, do_next=_AGAIN)

    def _refuse_second(self, what: str, batch: BatchId) -> None:
        standing = [
            name
            for name, one in self._core.state.batches[batch].amendments.items()
            if one.status == "proposed"
        ]
        if standing:
            raise RefusedError(
                what,
                why=f"{standing[0]} is proposed, and nobody has decided on it",
                do_next="Have it verified or rejected first",
            )


def asked_of(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return what a view was asked for, with its objects read.

    Raises:
        RefusedError: One isn't an object of texts.
    """
    asked: dict[str, Any] = dict(arguments)
    for name in ("addendum", "use"):
        if name in asked:
            asked[name] = _object(name, asked[name])
    for name in ("batch", "binding"):
        if name not in asked:
            raise RefusedError(
                "show an amendment", why=f"it lacks {name!r}", do_next="Say which is meant"
            )
    return asked


def _object(name: str, text: str) -> dict[str, str]:
    try:
        told: object = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise RefusedError(
            "show an amendment", why=f"{name} isn't an object of texts", do_next=_AGAIN
        )
    return {str(key): str(value) for key, value in cast("dict[object, object]", told).items()}


def _submitted(recipe: Recipe, by: Signed) -> RecipeSubmitted:
    return RecipeSubmitted(
        recipe=recipe.digest,
        title=recipe.title,
        document=recipe.document,
        version=recipe.version,
        content=recipe.content.decode(),
        signature=by,
    )
