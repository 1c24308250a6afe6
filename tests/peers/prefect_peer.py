# pyright: basic, reportMissingImports=false
"""The job under Prefect: a flow whose doses are tasks with persisted results.

As its documentation has it: a task's result is persisted and its cache key made of its inputs,
the job's name among them, so that a flow that is run again takes finished tasks from the cache.
The server lives on; what is killed is the process that runs the flow, which is then run again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import INPUTS

from tests.peers.job import Dose, doses
from tests.peers.pump_client import PumpClient

folder, ports = Path(sys.argv[2]), Path(sys.argv[3])
pump = PumpClient(str(ports / "P1"))


@task(persist_result=True, cache_policy=INPUTS)
def dose(job: str, number: int, pulses: int, speed_tenths: int) -> int:
    del job
    return pump.dose(Dose(number, pulses, speed_tenths))


@flow
def job(name: str) -> None:
    for one in doses():
        dose(name, *one)


job(folder.name)
