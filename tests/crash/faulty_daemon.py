"""A daemon with a fault planted: what was interrupted it takes for not done, and does again.

``python -m tests.crash.faulty_daemon serve CELL ...`` is otherwise ``cellwright serve ...``.
"""

from __future__ import annotations

import sys

from devices.interfaces.driver import Driver, Standing
from orchestrator.cli.main import main
from orchestrator.engine.actor import ActingPhase, Actor
from orchestrator.engine.state import AttemptState
from orchestrator.kernel.acts import Act, NothingDone
from orchestrator.kernel.identifiers import CommandId


class ForgetfulActor(Actor):
    """Asks nobody and nothing what an interrupted attempt did."""

    async def _reconcile(
        self, phase: ActingPhase, driver: Driver, act: Act, attempt: AttemptState
    ) -> None:
        del act
        command = CommandId(attempt.command)
        shown: Standing = await driver.standing()
        await self._settle(phase, command, NothingDone(why="it was interrupted"), shown, {})


if __name__ == "__main__":
    import orchestrator.engine.engine

    orchestrator.engine.engine.Actor = ForgetfulActor
    sys.exit(main())
