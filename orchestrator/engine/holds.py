"""Hold, pause and stop a unit procedure, and let it go on, each by the ISA-88 table."""

from __future__ import annotations

from orchestrator.engine.control import UnitControl
from orchestrator.engine.core import Core
from orchestrator.engine.phase_state import LEADS_TO, PhaseLife, PhaseState
from orchestrator.journal.events import StateChanged
from orchestrator.kernel.errors import IllegalTransitionError
from orchestrator.kernel.identifiers import BatchId, PhasePath, UserId

_ARRIVES = {
    PhaseState.HOLDING: "held",
    PhaseState.PAUSING: "paused",
    PhaseState.RESTARTING: "restarted",
    PhaseState.STOPPING: "stopped",
    PhaseState.ABORTING: "aborted",
}


class Holds:
    """Moves the phases of a unit procedure through their states together."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._controls: dict[tuple[str, str], UnitControl] = {}

    def control_of(self, batch: str, unit_procedure: str) -> UnitControl:
        """Return the switch of a unit procedure, set as its phases' record says."""
        control = self._controls.get((batch, unit_procedure))
        if control is not None:
            return control
        control = self._controls[batch, unit_procedure] = UnitControl(unit_procedure)
        for path, phase in self._core.state.batches[batch].phases.items():
            if not _belongs(path, unit_procedure):
                continue
            if phase.state in (
                PhaseState.HOLDING,
                PhaseState.HELD,
                PhaseState.PAUSING,
                PhaseState.PAUSED,
            ):
                control.wait(phase.why)
            if phase.state in (PhaseState.STOPPING, PhaseState.ABORTING):
                control.stop(phase.why)
        return control

    def controls(self, batch: str) -> list[UnitControl]:
        """Return the switches of a batch's unit procedures that run."""
        return [one for (name, _), one in self._controls.items() if name == batch]

    async def hold(self, batch: BatchId, control: UnitControl, why: str) -> None:
        """Hold every running phase of a unit procedure, by the engine itself."""
        if control.stops:
            return
        control.wait(why)
        await self._trigger(batch, control, "hold", why, None)

    async def arrived(self, batch: BatchId, path: PhasePath) -> None:
        """Record that a phase has come to the state that it was on its way to."""
        state = self._core.state.batches[batch].phases[path].state
        trigger = _ARRIVES.get(state)
        if trigger is not None:
            why = self._core.state.batches[batch].phases[path].why
            await self._core.record(
                batch, StateChanged(batch=batch, path=path, trigger=trigger, why=why)
            )

    async def stay(self, batch: BatchId, control: UnitControl, path: PhasePath) -> None:
        """Stay at a safe point while the unit procedure is held or paused.

        Raises:
            StoppedError: It was stopped or aborted.
        """
        await self.arrived(batch, path)
        await control.passed()
        await self.arrived(batch, path)

    async def command(
        self, batch: BatchId, control: UnitControl, trigger: str, why: str, by: UserId
    ) -> None:
        """Carry out a person's command on a unit procedure.

        Raises:
            IllegalTransitionError: No phase of it may do that now. Nothing happened.
        """
        phases = self._core.state.batches[batch].phases
        open_now = [
            path
            for path, phase in phases.items()
            if _belongs(path, control.path)
            and phase.state not in (PhaseState.COMPLETE, PhaseState.STOPPED, PhaseState.ABORTED)
        ]
        if not open_now:
            raise IllegalTransitionError(
                f"{trigger} {control.path} of batch {batch}",
                why="no phase of it runs now",
                do_next="Wait until one runs, or choose another unit procedure",
            )
        for path in open_now:
            PhaseLife(phases[path].state).apply(trigger)
        if trigger in ("hold", "pause"):
            control.wait(why)
        if trigger in ("stop", "abort"):
            control.stop(why)
        await self._trigger(batch, control, trigger, why, by)
        if trigger in ("restart", "resume"):
            control.go_on()

    async def let_go_on(self, batch: BatchId, control: UnitControl, why: str) -> None:
        """Restart a unit procedure that the engine held, once people have decided."""
        await self._trigger(batch, control, "restart", why, None)
        control.go_on()

    async def _trigger(
        self, batch: BatchId, control: UnitControl, trigger: str, why: str, by: UserId | None
    ) -> None:
        events = [
            StateChanged(batch=batch, path=PhasePath(path), trigger=trigger, why=why, by=by)
            for path, phase in self._core.state.batches[batch].phases.items()
            if _belongs(path, control.path) and (phase.state, trigger) in LEADS_TO
        ]
        if events:
            await self._core.record(batch, *events)


def _belongs(path: str, unit_procedure: str) -> bool:
    return path.startswith(f"{unit_procedure}/")
