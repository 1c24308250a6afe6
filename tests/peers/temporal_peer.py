# pyright: basic, reportMissingImports=false
"""The job under Temporal: a workflow whose doses are activities, on the development server.

As its documentation has it: an activity has a start-to-close time-out and, since it takes a
while, a heartbeat; it keeps the default retry policy. The server lives on, as a cluster would;
what is killed is the worker. A new worker is handed what the old one was silent about.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from tests.peers.job import Dose, doses
    from tests.peers.park import PARKED
    from tests.peers.pump_client import PumpClient

QUEUE = "peers"
HEARTBEAT_TIMEOUT = timedelta(seconds=2)


class Pumping:
    def __init__(self, pump: PumpClient | None) -> None:
        self._pump = pump

    @activity.defn
    def dose(self, asked: list[int]) -> int:
        assert self._pump is not None
        activity.heartbeat()
        return self._pump.dose(Dose(*asked), looked=activity.heartbeat)

    @activity.defn
    def went_on(self) -> str:
        return "gone on"


@workflow.defn
class Job:
    @workflow.run
    async def run(self) -> None:
        for one in doses():
            await workflow.execute_activity_method(
                Pumping.dose,
                list(one),
                start_to_close_timeout=timedelta(seconds=30),
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
            )


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self._word = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._word)
        await workflow.execute_activity_method(
            Pumping.went_on, start_to_close_timeout=timedelta(seconds=30)
        )

    @workflow.signal
    def word(self) -> None:
        self._word = True


async def main(what: str, folder: Path, ports: Path, server: str) -> None:
    pump = PumpClient(str(ports / "P1")) if what == "dose" else None
    client = await Client.connect(server)
    pumping = Pumping(pump)
    with ThreadPoolExecutor(max_workers=10) as threads:
        async with Worker(
            client,
            task_queue=QUEUE,
            workflows=[Job, Waits],
            activities=[pumping.dose, pumping.went_on],
            activity_executor=threads,
        ):
            if what == "dose":
                handle = await client.start_workflow(
                    Job.run,
                    id=folder.name,
                    task_queue=QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                )
                await handle.result()
            elif what == "park":
                for number in range(PARKED):
                    await client.start_workflow(Waits.run, id=f"park-{number}", task_queue=QUEUE)
                await asyncio.sleep(3)
                print("parked", flush=True)
                await asyncio.sleep(3600)
            else:
                handles = [client.get_workflow_handle(f"park-{n}") for n in range(PARKED)]
                await asyncio.gather(*(one.signal("word") for one in handles))
                await asyncio.gather(*(one.result() for one in handles))
                print("gone on", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
