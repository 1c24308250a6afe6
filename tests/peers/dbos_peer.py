# pyright: basic, reportMissingImports=false
"""The job under DBOS on SQLite: a workflow whose doses are steps.

As its documentation has it: each call to the outside is a step, its result is recorded when
it returns, and `DBOS.launch()` resumes what an earlier process left. `start_workflow` with an
id that is known returns the workflow that has it.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from dbos import DBOS, SetWorkflowID

from tests.peers.job import Dose, doses
from tests.peers.park import PARKED
from tests.peers.pump_client import PumpClient

what, folder, ports = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
waiting = threading.Semaphore(0)

DBOS(
    config={
        "name": "peers",
        "system_database_url": f"sqlite:///{folder / 'dbos.sqlite'}",
        "log_level": "WARNING",
    }
)


@DBOS.step()
def dose(number: int, pulses: int, speed_tenths: int) -> int:
    return pump.dose(Dose(number, pulses, speed_tenths))


@DBOS.workflow()
def job() -> None:
    for one in doses():
        dose(*one)


@DBOS.step()
def went_on() -> str:
    return "gone on"


@DBOS.workflow()
def waits() -> None:
    waiting.release()
    DBOS.recv("word", timeout_seconds=3600)
    went_on()


def started(name: str):
    with SetWorkflowID(name):
        return DBOS.start_workflow(waits)


if what == "dose":
    pump = PumpClient(str(ports / "P1"))
    DBOS.launch()
    with SetWorkflowID("job"):
        handle = DBOS.start_workflow(job)
    handle.get_result()
    DBOS.destroy()
elif what == "park":
    DBOS.launch()
    for number in range(PARKED):
        started(f"park-{number}")
    for _ in range(PARKED):
        waiting.acquire()
    print("parked", flush=True)
    time.sleep(3600)
else:
    DBOS.launch()
    for number in range(PARKED):
        DBOS.send(f"park-{number}", "go on", "word")
    for number in range(PARKED):
        DBOS.retrieve_workflow(f"park-{number}").get_result()
    print("gone on", flush=True)
    DBOS.destroy()
