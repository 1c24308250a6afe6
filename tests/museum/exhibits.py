"""The museum: faults that a kernel like this one has had somewhere, one at a time.

An exhibit is a patch of the source, applied by the test to a copy; the product knows nothing
of it. Its suspects are the tests that are to catch it, the quickest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

JOURNAL: Final = "orchestrator/journal/journal.py"
ACTOR: Final = "orchestrator/engine/actor.py"
PUMP: Final = "devices/drivers/watson_marlow_530du.py"
LIMITS: Final = "orchestrator/engine/limits.py"
FOLD: Final = "orchestrator/engine/fold.py"
GATE: Final = "chain_of_identity/gate.py"
CONVERSATION: Final = "devices/transport/conversation.py"

THIN_PATH: Final = "tests/simulation/test_thin_path.py"
THIN_PATH_DIES: Final = "tests/simulation/test_thin_path_crash.py"
JOURNAL_ITSELF: Final = "tests/unit/journal"
PUMP_ITSELF: Final = "tests/unit/drivers/test_watson_marlow_530du.py"
GATE_ITSELF: Final = "tests/unit/identity/test_gate.py"
RESTART: Final = "tests/simulation/test_over_a_restart.py"
AMENDED: Final = "tests/simulation/test_amended_batches.py"
RESTORED: Final = "tests/simulation/test_restored.py"
FREEZING: Final = "tests/simulation/test_freezing_rescue.py"
WITNESS_ITSELF: Final = "tests/unit/journal/test_witness.py"
BACKUP: Final = "tests/unit/cli/test_backup_and_restore.py"
ELAPSED: Final = (
    "tests/unit/engine/test_limits.py",
    "tests/property/test_elapsed_time.py",
    "tests/simulation/test_clock.py",
)


@dataclass(frozen=True, slots=True)
class Edit:
    """One place of the source: what stands there, once, and what is planted instead."""

    file: str
    stands: str
    planted: str


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One fault, and the tests that are to catch it."""

    name: str
    harm: str
    edits: tuple[Edit, ...]
    suspects: tuple[str, ...]


EXHIBITS: Final = (
    Exhibit(
        "done-written-before-the-act",
        "After a death the act counts as done, and the cells never got their dose.",
        (
            Edit(
                ACTOR,
                "                    await driver.trigger(act, command)\n",
                "                    effect = Effect(done=str(getattr(act, 'volume', 1)))\n"
                "                    done = AllDone(effect=effect)\n"
                "                    await self._settle(phase, command, done, before, evidence)\n"
                "                    await driver.trigger(act, command)\n"
                "                    await driver.settle(act, command, before)\n"
                "                    return None\n",
            ),
        ),
        (THIN_PATH_DIES,),
    ),
    Exhibit(
        "intent-after-the-trigger",
        "After a death nobody knows that the act was begun, and it is done again.",
        (
            Edit(
                ACTOR,
                "        await core.record(\n            phase.batch,\n          "
                "  AttemptIntended(\n",
                "        await driver.prepare(rest)\n"
                "        await driver.trigger(rest, command)\n"
                "        await core.record(\n            phase.batch,\n          "
                "  AttemptIntended(\n",
            ),
            Edit(
                ACTOR,
                "                    if not _told_to_wait(control):\n"
                "                        await driver.prepare(act)\n",
                "",
            ),
            Edit(
                ACTOR,
                "                    await driver.trigger(act, command)\n",
                "",
            ),
        ),
        (THIN_PATH_DIES,),
    ),
    Exhibit(
        "normal-for-full",
        "What was acknowledged is lost when the power fails.",
        (Edit(JOURNAL, "synchronous = FULL", "synchronous = NORMAL"),),
        (JOURNAL_ITSELF,),
    ),
    Exhibit(
        "acknowledged-before-durable",
        "An act follows on an intent that no disk holds.",
        (
            Edit(
                JOURNAL,
                "        self._waiting.append(waiting)\n        self._schedule(loop)\n",
                "        waiting.set_result(None)\n        self._schedule(loop)\n",
            ),
        ),
        (JOURNAL_ITSELF,),
    ),
    Exhibit(
        "a-failed-write-is-tried-again",
        "Nobody knows what the disk holds after a failed sync, and acts go on.",
        (
            Edit(
                JOURNAL,
                "        finally:\n            self.latch(why)\n",
                "        finally:\n            pass\n",
            ),
        ),
        (JOURNAL_ITSELF,),
    ),
    Exhibit(
        "chain-without-head",
        "A journal that was cut behind its newest checkpoint is taken for whole.",
        (
            Edit(
                JOURNAL,
                "        newest = self._newest_checkpoint()\n",
                "        newest = None\n",
            ),
        ),
        (JOURNAL_ITSELF,),
    ),
    Exhibit(
        "two-writers",
        "Two daemons drive one cell.",
        (
            Edit(
                JOURNAL,
                "        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
                "        pass\n",
            ),
        ),
        (JOURNAL_ITSELF,),
    ),
    Exhibit(
        "checkpoint-never-published",
        "A record that was cut short can't be told from a whole one.",
        (
            Edit(
                JOURNAL,
                "                    self._connection.execute(_INSERT_CHECKPOINT, "
                "(checkpoint.size, note))\n",
                "                    del note\n",
            ),
        ),
        (JOURNAL_ITSELF,),
    ),
    Exhibit(
        "no-checkpoint-at-a-phase's-end",
        "What was done since the last one is anchored to nothing.",
        (
            Edit(
                "orchestrator/engine/engine.py",
                "        del batch, path\n        await self.core.checkpoint()\n",
                "        del batch, path\n",
            ),
        ),
        (THIN_PATH,),
    ),
    Exhibit(
        "leaf-of-the-body-alone",
        "When it was and of which batch can be changed without a trace.",
        (
            Edit(
                JOURNAL,
                '    return sha256(b"\\x00" + text.encode()).digest() == leaf\n',
                "    return True\n",
            ),
        ),
        (JOURNAL_ITSELF,),
    ),
    Exhibit(
        "no-wait-for-idle",
        "A pump that still turns is taken for one that has done nothing, and doses again.",
        (
            Edit(
                PUMP,
                "        shown = await self._until_idle(dose, before)\n"
                "        if isinstance(asked, TurnEmptyPump):\n"
                "            report = self._judge_empty(asked, dose, shown.tacho "
                '- int(before.values["count"]))\n',
                "        shown = await self._status()\n"
                "        if isinstance(asked, TurnEmptyPump):\n"
                "            report = self._judge_empty(asked, dose, shown.tacho "
                '- int(before.values["count"]))\n',
            ),
        ),
        (PUMP_ITSELF, THIN_PATH_DIES),
    ),
    Exhibit(
        "counter-without-witness",
        "A count that began anew with the power is believed.",
        (
            Edit(
                PUMP,
                "        if not before.witness:\n            return CannotTell(",
                "        if before.witness is None:\n            return CannotTell(",
            ),
            Edit(
                PUMP,
                "        if moved < -self._idle_count:\n",
                "        if moved < -self._idle_count and not before.values:\n",
            ),
        ),
        (PUMP_ITSELF,),
    ),
    Exhibit(
        "base-zero-taken-for-a-witness",
        "A pump that was just powered on shows no restart, and is believed.",
        (
            Edit(
                PUMP,
                "        is_base = shown.tacho > self._idle_count\n",
                "        is_base = True\n",
            ),
        ),
        (PUMP_ITSELF,),
    ),
    Exhibit(
        "resend-after-time-out",
        "The pump doses twice: the reply was lost, not the command.",
        (
            Edit(
                PUMP,
                "        except NoReplyError as lost:\n            raise OutcomeUnknownError(\n"
                "                self._what(asked),\n"
                '                why="the dose command left',
                "        except NoReplyError as lost:\n"
                '            await self._say(b"DO%d" % dose.pulses, None)\n'
                "            raise OutcomeUnknownError(\n"
                "                self._what(asked),\n"
                '                why="the dose command left',
            ),
        ),
        (PUMP_ITSELF,),
    ),
    Exhibit(
        "late-reply-accepted",
        "The answer to the question before is taken for this one's.",
        (
            Edit(
                CONVERSATION,
                "        if self._numbered:\n"
                "            self._drop()  # what it holds can't become the next answer\n"
                "            return\n",
                "        self._must_greet = False\n        return\n",
            ),
        ),
        ("tests/unit/transport/test_conversation.py",),
    ),
    Exhibit(
        "not-greeted-after-a-lost-answer",
        "Another instrument stands on the line, or answers are one behind.",
        (
            Edit(
                CONVERSATION,
                "        self._must_greet = self._greeting is not None\n",
                "        self._must_greet = False\n",
            ),
        ),
        ("tests/unit/transport/test_conversation.py",),
    ),
    Exhibit(
        "trigger-written-twice",
        "One attempt acts twice.",
        (
            Edit(
                "devices/transport/transport.py",
                "            raise TriggerRepeatedError(\n",
                "            TriggerRepeatedError(\n",
            ),
        ),
        ("tests/unit/transport",),
    ),
    Exhibit(
        "settled-without-evidence",
        "The pump turned with a kinked tube, and the dose counts as given.",
        (
            Edit(
                ACTOR,
                "        report = act.judge(settled.report, evidence, after)\n",
                "        report = settled.report\n",
            ),
        ),
        (THIN_PATH, "tests/simulation/test_identity.py"),
    ),
    Exhibit(
        "doubt-taken-for-nothing-done",
        "What can't be told is done again.",
        (
            Edit(
                ACTOR,
                "        report = tried.judge(settled.report, attempt.evidence, after)\n",
                "        report = tried.judge(settled.report, attempt.evidence, after)\n"
                "        if isinstance(report, CannotTell):\n"
                "            report = NothingDone(why=report.why)\n",
            ),
        ),
        ("tests/crash/test_kill_daemon.py", "tests/simulation/test_holds_and_stops.py"),
    ),
    Exhibit(
        "part-taken-for-nothing-done",
        "After half a dose comes a whole one.",
        (
            Edit(
                ACTOR,
                '        if attempt.verdict != "part" or act.on_interruption is '
                "OnInterruption.REPEAT:\n",
                "        if attempt.verdict:\n",
            ),
        ),
        (THIN_PATH,),
    ),
    Exhibit(
        "not-quieted-before-it-is-asked",
        "A pump whose software died turns on until its dose is full, whatever happened since.",
        (
            Edit(
                ACTOR,
                "            await self.quieten(attempt.equipment, tried, "
                '"an attempt was interrupted")\n',
                "",
            ),
            Edit(
                "orchestrator/engine/engine.py",
                "        await self.actor.quieten(attempt.equipment, act, "
                'f"{CommandId(command)} was interrupted")\n',
                "        str(act)\n",
            ),
        ),
        (THIN_PATH,),
    ),
    Exhibit(
        "outside-act-not-seen",
        "Somebody pressed the panel's key while nobody looked.",
        (
            Edit(
                "orchestrator/engine/interlocks/outside_act.py",
                "        if before is None or now is None or before == now:\n",
                "        if before is None or now is None or tolerance:\n",
            ),
        ),
        ("tests/simulation/test_idle.py", "tests/simulation/test_judge_of_the_engine.py"),
    ),
    Exhibit(
        "not-asked-anew-who-it-is",
        "After a lost cable another instrument answers on the line.",
        (
            Edit(
                "orchestrator/engine/recognition.py",
                "        self._recognised.discard(equipment)\n",
                "        del equipment\n",
            ),
        ),
        ("tests/simulation/test_exchanged_instrument.py",),
    ),
    Exhibit(
        "proof-kept-over-a-restart",
        "Somebody changed the bags while the software was down.",
        (
            Edit(
                "orchestrator/engine/register.py",
                "        if seq < self._state.last_start:\n            return Break.RESTART\n",
                "",
            ),
        ),
        (RESTART,),
    ),
    Exhibit(
        "carried-over-a-break",
        "A bag that was parted and joined again is taken for the one that was scanned.",
        (
            Edit(
                GATE,
                "        if broken is not None:\n",
                "        if broken is not None and not where:\n",
            ),
        ),
        (GATE_ITSELF,),
    ),
    Exhibit(
        "any-patient's-bag",
        "A patient gets another's cells.",
        (
            Edit(
                GATE,
                "        self._refuse_other(scan.label, (expected,), where)\n",
                "",
            ),
        ),
        (GATE_ITSELF,),
    ),
    Exhibit(
        "freezer-halted-on-latch",
        "The disk is full, and the cells thaw.",
        (
            Edit(
                "orchestrator/engine/latch.py",
                'Quieten(attempt.act["quieten"])',
                "Quieten.HALT",
            ),
        ),
        ("tests/unit/engine/test_latch.py", "tests/simulation/test_latch.py"),
    ),
    Exhibit(
        "goes-on-after-the-latch",
        "A trigger leaves of which no record can be kept.",
        (
            Edit(
                "orchestrator/engine/core.py",
                "        if self.journal.latched is not None:\n"
                "            await self._rest()\n"
                "            raise JournalLatchedError(\n"
                '                "go on",\n',
                "        if self.journal.latched == 'never':\n"
                "            await self._rest()\n"
                "            raise JournalLatchedError(\n"
                '                "go on",\n',
            ),
            Edit(
                "orchestrator/engine/latch.py",
                "        for run in runs:\n            run.cancel()\n",
                "",
            ),
        ),
        ("tests/simulation/test_latch.py", "tests/unit/engine/test_latch.py"),
    ),
    Exhibit(
        "maximum-by-the-lower-end",
        "After a reboot the cells lie longer than was shown to be safe.",
        (
            Edit(
                LIMITS,
                "    return Duration.read(limit.maximum) - ran.highest\n",
                "    return Duration.read(limit.maximum) - ran.lowest\n",
            ),
            Edit(LIMITS, "maximum.base - ran.highest.base", "maximum.base - ran.lowest.base"),
        ),
        ELAPSED,
    ),
    Exhibit(
        "minimum-by-the-upper-end",
        "After a reboot the vector is washed off too early.",
        (
            Edit(
                LIMITS,
                "if ran is None else ran.lowest\n",
                "if ran is None else ran.highest\n",
            ),
        ),
        ELAPSED,
    ),
    Exhibit(
        "elapsed-by-the-wall-clock",
        "Somebody sets the clock, and an hour has become a day.",
        (
            Edit(
                LIMITS,
                "        ran_ms = now_ms - mark.ms\n",
                "        ran_ms = clock.utc().micros // 1_000 - mark.ms\n",
            ),
            Edit(
                FOLD,
                "    return Mark(at.boot, at.boottime.base)\n",
                "    return Mark(at.boot, at.at.micros // 1_000)\n",
            ),
        ),
        ELAPSED,
    ),
    Exhibit(
        "clock-stopped-while-held",
        "The cells age while the batch is held, and nobody is told.",
        (
            Edit(
                LIMITS,
                "                if not limit.due and limit.maximum and "
                "self.ran_since(limit.mark) is not None\n",
                "                if not limit.due and limit.maximum and not any(\n"
                "                    procedure.reasons\n"
                "                    for batch in self._core.state.batches.values()\n"
                "                    for procedure in batch.procedures.values()\n"
                "                )\n",
            ),
        ),
        ("tests/simulation/test_holds_and_stops.py", "tests/unit/engine", "tests/simulation"),
    ),
    Exhibit(
        "holds-forgotten-at-a-restart",
        "What people held goes on by itself because the software died.",
        (
            Edit(
                "orchestrator/engine/holds.py",
                "        for reason, why in procedure.reasons.items():\n"
                "            control.wait(why, reason)\n",
                "",
            ),
        ),
        (RESTART,),
    ),
    Exhibit(
        "a-request-given-twice-is-done-twice",
        "A technician's screen asks again after a lost connection, and two batches start.",
        (
            Edit(
                "orchestrator/console/desk.py",
                "        if request in self._state.answered:\n"
                "            return _as_answered(self._state.answered[request], command)\n"
                "        answer",
                "        answer",
            ),
        ),
        ("tests/unit/engine_desk/test_requests.py",),
    ),
    Exhibit(
        "saved-state-believed-unsigned",
        "A damaged or planted snapshot decides which bag is whose.",
        (
            Edit(
                "orchestrator/journal/saved_state.py",
                "        for note in read_checkpoints(journal, size=saved.seq):\n",
                "        return saved\n"
                "        for note in read_checkpoints(journal, size=saved.seq):\n",
            ),
        ),
        ("tests/unit/journal/test_saved_state.py",),
    ),
    Exhibit(
        "answers-taken-whatever-was-asked",
        "A new version asks for another volume, and the old answer counts.",
        (
            Edit(
                "orchestrator/engine/words.py",
                "        if word is not None and word.asked != asked:\n",
                "        if word is not None and word.asked is None:\n",
            ),
        ),
        ("tests/unit/engine", "tests/simulation/test_holds_and_stops.py", "tests/simulation"),
    ),
    Exhibit(
        "what-ran-goes-on-after-a-restore",
        "What was done after the backup isn't on record, and is done again.",
        (
            Edit(
                "orchestrator/engine/restored.py",
                '        yield StateChanged(batch=name, path=path, trigger="start")\n'
                '    yield StateChanged(batch=name, path=path, trigger="hold", why=why, '
                "reason=reason)\n",
                '        yield StateChanged(batch=name, path=path, trigger="start")\n',
            ),
        ),
        (RESTORED,),
    ),
    Exhibit(
        "an-open-act-is-sure-after-a-restore",
        "The instrument did more than the attempt that is open, and its count is believed.",
        (
            Edit(
                "orchestrator/engine/restored.py",
                "            and batch.phases[path].words[number].attempts[-1].verdict "
                '!= "uncertain"\n',
                "            and batch.phases[path].words[number].attempts[-1].verdict "
                '== "uncertain"\n',
            ),
        ),
        (RESTORED,),
    ),
    Exhibit(
        "old-epoch-accepted",
        "A daemon goes on with the journal of before a restore, beside the new one.",
        (
            Edit(
                "orchestrator/journal/witness.py",
                "            if epoch <= self._epoch:\n",
                "            if epoch:\n",
            ),
        ),
        (BACKUP,),
    ),
    Exhibit(
        "older-journal-accepted",
        "A journal that was put back is gone on with, and what came after it is done again.",
        (
            Edit(
                "orchestrator/journal/witness.py",
                "        if signed:\n            held_events",
                "        if not signed:\n            held_events",
            ),
        ),
        (WITNESS_ITSELF,),
    ),
    Exhibit(
        "witnessed-before-it-is-on-disk",
        "The witness's host loses power, and the newest checkpoints that it vouched for.",
        (Edit("orchestrator/journal/witness.py", "            os.fsync(file)\n", ""),),
        (WITNESS_ITSELF,),
    ),
    Exhibit(
        "a-curve-begun-again",
        "Frozen cells are frozen a second time.",
        (
            Edit(
                "orchestrator/engine/words.py",
                "        choices=choices if rescue is None else rescue.choices,\n",
                "        choices=choices,\n",
            ),
            Edit(
                "orchestrator/console/reconciling.py",
                "    if isinstance(act, RampSegment) and act.containers:\n",
                "    if isinstance(act, RampSegment) and not act.containers:\n",
            ),
        ),
        (FREEZING,),
    ),
    Exhibit(
        "plateau-taken-for-above-nucleation",
        "Ice has begun to form, and people are told that the curve may count as done.",
        (
            Edit(
                "orchestrator/engine/freezing_rescue.py",
                "        if min(been_at) > self.ice_forms_below:\n",
                "        if stands_at > self.ice_forms_below:\n",
            ),
        ),
        ("tests/unit/engine/test_freezing_rescue.py", FREEZING),
    ),
    Exhibit(
        "second-segment-from-anywhere",
        "The bags have warmed meanwhile, and are cooled from there as if nothing had been.",
        (
            Edit(
                "orchestrator/engine/freezing_rescue.py",
                "        if abs(stands_at - act.begins_at) > self._begins_within:\n",
                "        if stands_at < act.to:\n",
            ),
        ),
        ("tests/unit/engine/test_freezing_rescue.py", FREEZING),
    ),
    Exhibit(
        "signed-after-a-jump",
        "A signature bears a time at which nobody signed.",
        (
            Edit(
                "orchestrator/engine/wall_clock.py",
                "        if state.jumped or self._jumped(now):\n",
                "        if self._jumped(now):\n",
            ),
        ),
        ("tests/simulation/test_clock.py",),
    ),
    Exhibit(
        "an-unsynchronised-clock-believed",
        "The host's clock lost its battery, and a limit that ran out days ago has hours left.",
        (
            Edit(
                "orchestrator/engine/wall_clock.py",
                "                synchronised=trusted,\n"
                '                offset=str(offset) if trusted else "",\n',
                "                synchronised=True,\n"
                '                offset=str(offset) if trusted else "0 s",\n',
            ),
        ),
        ("tests/simulation/test_clock.py",),
    ),
    Exhibit(
        "one-reading-decides",
        "A digit was damaged on a wire without checksum, and a dose is settled by it.",
        (
            Edit(
                "devices/drivers/reads.py",
                "            if agree >= 2 + line.troubles():\n",
                "            if agree >= 1 + line.troubles():\n",
            ),
            Edit(
                "devices/drivers/reads.py",
                "        if earlier == later if alike is None else alike(earlier, later):\n",
                "        if agree:\n",
            ),
        ),
        ("tests/property/test_frames.py", "tests/unit/drivers"),
    ),
    Exhibit(
        "judge-counts-no-repeat",
        "A dose was given twice, and the proof says that none was.",
        (
            Edit(
                "orchestrator/records/comparison.py",
                '            found["repeated"].append(_finding("repeated", act, balance.more))\n',
                '            _finding("repeated", act, balance.more)\n',
            ),
        ),
        ("tests/unit/records/test_comparison.py",),
    ),
    Exhibit(
        "amended-while-it-moves",
        "The recipe changes under an act that is under way.",
        (
            Edit(
                "orchestrator/engine/amending.py",
                "        if moving or not self._holds.controls(batch):\n",
                "        if not self._holds.controls(batch):\n",
            ),
        ),
        (AMENDED,),
    ),
    Exhibit(
        "what-has-run-may-be-amended",
        "The record says that another procedure ran than did.",
        (
            Edit(
                "orchestrator/recipe/amend.py",
                "        if was is not None and (now is None or _own(was) != _own(now)):\n",
                "        if was is not None and now is not None and _own(was) != _own(now):\n",
            ),
            Edit(
                "orchestrator/recipe/amend.py",
                "        if late or over:\n",
                "        if over:\n",
            ),
        ),
        (AMENDED,),
    ),
    Exhibit(
        "an-addendum-that-is-not-checked",
        "A step goes that a later one needs, and the pump draws from a bag that isn't joined.",
        (
            Edit(
                "orchestrator/console/amending.py",
                "        return (*self.problems, *refused)\n",
                "        return self.problems if refused else (*self.problems, *refused)\n",
            ),
        ),
        (AMENDED,),
    ),
    Exhibit(
        "another-version-goes-on",
        "A new version goes on with a batch that nobody bound to it.",
        (
            Edit(
                "orchestrator/engine/amending.py",
                "        if not why or any(BOUND in one.reasons "
                "for one in known.procedures.values()):\n",
                "        if why or any(BOUND in one.reasons "
                "for one in known.procedures.values()):\n",
            ),
        ),
        ("tests/simulation/test_rebound_batches.py",),
    ),
    Exhibit(
        "an-exchanged-instrument-is-as-good",
        "A balance that nobody qualified for the batch weighs its doses.",
        (
            Edit(
                "orchestrator/engine/interlocks/outside_act.py",
                "        if bound and known.serial and bound != known.serial:\n",
                "        if bound and not known.serial:\n",
            ),
        ),
        ("tests/simulation/test_rebound_batches.py",),
    ),
)
