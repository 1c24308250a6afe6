"""The PF400 driver against the replies of TCS and an arm on paper, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from devices.drivers.brooks_pf400 import BrooksPf400, Settings
from devices.interfaces.container_transport import GripperHolds, PickContainer, PlaceContainer
from devices.interfaces.driver import MadeReadyError, Standing
from devices.transport.transport import Transport
from orchestrator.kernel.acts import AllDone, CannotTell, NothingDone, OnInterruption, Quieten
from orchestrator.kernel.errors import (
    DeviceFaultError,
    FailedError,
    InterlockRefusedError,
    LimitRefusedError,
    OutcomeUnknownError,
    RefusedError,
    UncertainError,
)
from orchestrator.kernel.identifiers import ContainerId, EquipmentId, PlaceId
from orchestrator.kernel.quantities import minute
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import FIRST, Paper, at_the_wire, until

HELD_MM, OPEN_MM, SHUT_MM = 85.0, 110.0, 60.0
PARKED = (170.0, 0.0, 180.0, -180.0)
APPROACH = (200.0, -93.924, 114.442, -20.517)
CLEAR = (250.0, -200.0, 200.0)
GRIPS = GripperHolds(unit="arm")


def station(**changed: Any) -> dict[str, Any]:
    taught: dict[str, Any] = {
        "index": 2,
        "x_mm": 250,
        "y_mm": -200,
        "z_mm": 100,
        "yaw_deg": 0,
        "pitch_deg": 90,
        "roll_deg": 180,
        "configuration": 4097,
        "approach": "vertical",
        "clearance_mm": 100,
        "above_mm": 0,
        "grasp_offset_mm": 10,
    }
    return {**taught, **changed}


def settings(**changed: Any) -> Settings:
    arm: dict[str, Any] = {
        "stations": {"incubator/1": station()},
        "grip_width_mm": HELD_MM,
        "open_width_mm": OPEN_MM,
        "finger_speed_percent": 50,
        "grip_force_n": 10,
        "profile": 1,
        "speed_percent": 40,
        "acceleration_percent": 30,
    }
    return Settings.model_validate({**arm, **changed})


def an_act(kind: type[PickContainer | PlaceContainer], place: str = "incubator/1") -> Any:
    return kind(
        unit="arm",
        longest=5 * minute,
        on_interruption=OnInterruption.HOLD,
        quieten=Quieten.LEAVE_RUNNING,
        container=ContainerId("KIT-1"),
        place=PlaceId(place),
    )


PICK, PLACE = an_act(PickContainer), an_act(PlaceContainer)


class PaperArm(Paper):
    """Stands where the test puts it; a pick and a place take it to the approach."""

    def __init__(self) -> None:
        super().__init__(self.reply, split=until(b"\n"))
        self.state = 21
        self.attached = -1
        self.homed = 1
        self.joints = PARKED
        self.target = PARKED
        self.pose = (0.0, 0.0, 0.0)
        self.width_mm = OPEN_MM
        self.errors: dict[str, str] = {}  # command to the reply that it gets instead
        self.mute: set[str] = set()
        self.grips = True

    @property
    def names(self) -> list[str]:
        return [request.split()[0].decode() for request in self.written if request.split()]

    def reply(self, request: bytes) -> bytes | None:
        words = request.decode().split()
        if not words or words[0] in self.mute:
            return None
        told = self.errors.get(words[0]) or f"0 {self.told(words)}".strip()
        return f"{told}\r\n".encode()

    def told(self, words: list[str]) -> str:
        if words[0] in ("PickPlate", "PlacePlate"):
            picks = words[0] == "PickPlate"
            self.stand(APPROACH, CLEAR)
            self.width_mm = (HELD_MM if self.grips else SHUT_MM) if picks else OPEN_MM
            return ("-1" if self.grips else "0") if picks else ""
        if words[0] == "attach" and len(words) > 1:
            self.attached = -int(words[1])
            self.state = 21 if self.attached else 20
            return ""
        if words[0] == "hp":
            self.state = 20
            return ""
        if words[0] == "HomeAll_IfNoPlate":
            self.homed = 1
            return "-1"
        return {
            "sysState": str(self.state),
            "attach": str(self.attached),
            "pd": f"{self.homed}, 0, 0",
            "wherej": " ".join(map(str, (*self.joints, self.width_mm))),
            "destJ": " ".join(map(str, (*self.target, self.width_mm - 4))),
            "wherec": " ".join(map(str, (*self.pose, 0.0, 90.0, 180.0, 4097))),
            "IsFullyClosed": "-1" if self.width_mm <= SHUT_MM else "0",
            "version": "TCP Command Server 3.0D4",
        }.get(words[0], "")

    def stand(self, joints: tuple[float, ...], pose: tuple[float, ...]) -> None:
        self.joints = self.target = (joints[0], joints[1], joints[2], joints[3])
        self.pose = (pose[0], pose[1], pose[2])


def with_arm(paper: Paper, story: Callable[[BrooksPf400], Awaitable[None]]) -> None:
    def make(line: Transport) -> BrooksPf400:
        return BrooksPf400(line, equipment=EquipmentId("R1"), settings=settings())

    async def main() -> None:
        async with at_the_wire(paper, make) as arm:
            await story(arm)

    run_in_virtual_time(main())


def stood(holds: str, joints: tuple[float, ...] = PARKED) -> Standing:
    values = {f"joint_{n}": f"{joint:.3f}" for n, joint in enumerate(joints, start=1)}
    return Standing(values={"holds": holds, **values}, witness="homed")


def test_a_pick_is_one_trigger_after_its_preparations() -> None:
    paper = PaperArm()

    async def story(arm: BrooksPf400) -> None:
        before = await arm.standing()
        assert before == stood("no")
        await arm.prepare(PICK)
        assert paper.written[0] == b"mode 0\n"
        assert paper.written[-6:] == [
            b"Profile 1 40 40 30 30 0.1 0.1 0 0\n",
            b"GripOpenPos 110\n",
            b"GraspData 85 50 10\n",
            b"locXyz 2 250 -200 100 0 90 180\n",
            b"StationType 2 1 0 100 0 10\n",
            b"locConfig 2 4097\n",
        ]
        await arm.trigger(PICK, FIRST)
        assert paper.triggers == [b"PickPlate 2 0 0\n"]
        settled = await arm.settle(PICK, FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert settled.standing == stood("yes", APPROACH)
        assert await arm.read(GRIPS) == "yes"

    with_arm(paper, story)


def test_a_place_lets_go_and_stands_off() -> None:
    paper = PaperArm()
    paper.width_mm = HELD_MM

    async def story(arm: BrooksPf400) -> None:
        before = await arm.standing()
        await arm.prepare(PLACE)
        await arm.trigger(PLACE, FIRST)
        assert paper.triggers == [b"PlacePlate 2 0 0\n"]
        settled = await arm.settle(PLACE, FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert await arm.read(GRIPS) == "no"

    with_arm(paper, story)


def test_a_pick_that_finds_nothing_is_a_known_failure() -> None:
    paper = PaperArm()
    paper.grips = False

    async def story(arm: BrooksPf400) -> None:
        await arm.prepare(PICK)
        with pytest.raises(FailedError, match="no tray"):
            await arm.trigger(PICK, FIRST)

    with_arm(paper, story)


def test_an_arm_after_power_up_is_powered_homed_unattached_and_attached() -> None:
    paper = PaperArm()
    paper.state, paper.attached, paper.homed = 6, 0, 0

    async def story(arm: BrooksPf400) -> None:
        await arm.identify()
        assert await arm.standing() == Standing(values={}, witness="not homed")
        assert "HomeAll_IfNoPlate" not in paper.names
        with pytest.raises(MadeReadyError):
            await arm.prepare(PICK)
        assert "locXyz" not in paper.names
        names = [request for request in paper.written if request.split()[0] in (b"hp", b"attach")]
        assert names == [b"hp 1 20\n", b"attach\n", b"attach\n", b"attach 1\n"]
        assert paper.names.index("HomeAll_IfNoPlate") < paper.written.index(b"attach 1\n")
        assert (await arm.standing()).witness == "homed"
        await arm.prepare(PICK)
        assert "locXyz" in paper.names

    with_arm(paper, story)


@pytest.mark.parametrize("homed", [0, 1])
def test_an_attempt_that_began_unhomed_did_nothing_however_the_arm_stands(homed: int) -> None:
    paper = PaperArm()
    paper.homed = homed

    async def story(arm: BrooksPf400) -> None:
        settled = await arm.effect_of(PICK, FIRST, Standing(values={}, witness="not homed"))
        assert isinstance(settled.report, NothingDone)

    with_arm(paper, story)


@pytest.mark.parametrize("homed", [0, 1])
@pytest.mark.parametrize("values", [{}, {"holds": "no"}])
def test_an_attempt_of_which_nobody_wrote_how_it_began_is_in_doubt(
    homed: int, values: dict[str, str]
) -> None:
    """As a journal may hold it whose version wrote less: missing evidence proves nothing."""
    paper = PaperArm()
    paper.homed = homed

    async def story(arm: BrooksPf400) -> None:
        settled = await arm.effect_of(PICK, FIRST, Standing(values=values))
        assert isinstance(settled.report, CannotTell)

    with_arm(paper, story)


def test_an_arm_homed_by_somebody_since_its_standing_was_read_begins_anew() -> None:
    paper = PaperArm()
    paper.homed = 0

    async def story(arm: BrooksPf400) -> None:
        assert (await arm.standing()).witness == "not homed"
        paper.homed = 1
        with pytest.raises(MadeReadyError):
            await arm.prepare(PICK)
        assert "PickPlate" not in paper.names

    with_arm(paper, story)


def test_a_homing_under_way_is_waited_for() -> None:
    paper = PaperArm()
    paper.state = 28

    async def story(arm: BrooksPf400) -> None:
        going = asyncio.ensure_future(arm.prepare(PICK))
        await asyncio.sleep(5)
        assert not going.done()
        paper.state = 21
        await going

    with_arm(paper, story)


def test_an_unhomed_arm_that_holds_something_isnt_moved() -> None:
    paper = PaperArm()
    paper.homed = 0
    paper.errors = {"HomeAll_IfNoPlate": "0 0"}

    async def story(arm: BrooksPf400) -> None:
        with pytest.raises(RefusedError, match="gripper holds"):
            await arm.prepare(PICK)
        assert "locXyz" not in paper.names
        with pytest.raises(RefusedError, match="isn't homed"):
            await arm.read(GRIPS)

    with_arm(paper, story)


@pytest.mark.parametrize(("state", "word"), [(15, "emergency stop"), (5, "fault"), (4, "fault")])
def test_emergency_stop_and_faults_are_refused(state: int, word: str) -> None:
    paper = PaperArm()
    paper.state = state

    async def story(arm: BrooksPf400) -> None:
        with pytest.raises(InterlockRefusedError, match=word):
            await arm.prepare(PICK)

    with_arm(paper, story)


def test_the_gripper_must_fit_the_act() -> None:
    paper = PaperArm()

    async def story(arm: BrooksPf400) -> None:
        with pytest.raises(RefusedError, match="is empty"):
            await arm.prepare(PLACE)
        paper.width_mm = HELD_MM
        with pytest.raises(RefusedError, match="holds something"):
            await arm.prepare(PICK)
        assert paper.triggers == []

    with_arm(paper, story)


def test_a_place_that_isnt_taught_is_refused_and_nothing_written() -> None:
    paper = PaperArm()

    async def story(arm: BrooksPf400) -> None:
        with pytest.raises(LimitRefusedError, match="taught only incubator/1"):
            await arm.prepare(an_act(PickContainer, "rotor"))
        assert paper.written == []

    with_arm(paper, story)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("-1021 *Robot not homed*", DeviceFaultError),
        ("-2805 *Unknown command*", DeviceFaultError),
        ("-3100 *Hard envelope error*", UncertainError),
        ("-1028 *Hard E-stop*", UncertainError),
        ("", UncertainError),
        ("rubbish", UncertainError),
    ],
)
def test_an_error_of_the_motion_is_known_or_unknown_by_when_it_comes(
    reply: str, kind: type[Exception]
) -> None:
    paper = PaperArm()

    async def story(arm: BrooksPf400) -> None:
        await arm.prepare(PICK)
        paper.errors = {"PickPlate": reply}
        paper.mute = set() if reply else {"PickPlate"}
        with pytest.raises(kind):
            await arm.trigger(PICK, FIRST)
        assert paper.names.count("PickPlate") == 1

    with_arm(paper, story)


@pytest.mark.parametrize(
    ("act", "held_before", "width_mm", "joints", "pose", "verdict"),
    [
        (PICK, "no", OPEN_MM, PARKED, (0, 0, 0), NothingDone),
        (PICK, "no", HELD_MM, APPROACH, CLEAR, AllDone),
        (PICK, "no", HELD_MM, APPROACH, (250, -200, 100), CannotTell),  # not lifted
        (PICK, "no", HELD_MM, APPROACH, (250, 200, 200), CannotTell),  # elsewhere
        (PICK, "no", HELD_MM, PARKED, (0, 0, 0), CannotTell),  # gripped without a motion
        (PICK, "no", OPEN_MM, APPROACH, CLEAR, CannotTell),
        (PICK, "no", SHUT_MM, APPROACH, CLEAR, CannotTell),
        (PLACE, "yes", HELD_MM, PARKED, (0, 0, 0), NothingDone),
        (PLACE, "yes", OPEN_MM, APPROACH, CLEAR, AllDone),
        (PLACE, "yes", HELD_MM, APPROACH, CLEAR, CannotTell),
        (PLACE, "yes", OPEN_MM, APPROACH, (250, -200, 100), CannotTell),
        (PLACE, "no", OPEN_MM, APPROACH, CLEAR, CannotTell),
    ],
)
def test_position_and_gripper_together_say_what_an_interrupted_act_did(
    act: PickContainer | PlaceContainer,
    held_before: str,
    width_mm: float,
    joints: tuple[float, ...],
    pose: tuple[float, ...],
    verdict: type,
) -> None:
    paper = PaperArm()
    paper.stand(joints, pose)
    paper.width_mm = width_mm

    async def story(arm: BrooksPf400) -> None:
        settled = await arm.effect_of(act, FIRST, stood(held_before))
        assert isinstance(settled.report, verdict)

    with_arm(paper, story)


def test_an_arm_that_stopped_short_or_restarted_cant_tell() -> None:
    paper = PaperArm()
    paper.stand(APPROACH, CLEAR)
    paper.width_mm = HELD_MM
    paper.target = PARKED

    async def short(arm: BrooksPf400) -> None:
        settled = await arm.effect_of(PICK, FIRST, stood("no"))
        assert isinstance(settled.report, CannotTell)
        assert "short of its target" in settled.report.why
        paper.homed = 0
        settled = await arm.effect_of(PICK, FIRST, stood("no"))
        assert isinstance(settled.report, CannotTell)
        assert "restarted" in settled.report.why

    with_arm(paper, short)


def test_an_arm_that_moves_is_waited_for() -> None:
    paper = PaperArm()

    async def story(arm: BrooksPf400) -> None:
        moving = asyncio.ensure_future(arm.effect_of(PICK, FIRST, stood("no")))
        for step in range(100):
            paper.joints = (200.0 + step, -93.924, 114.442, -20.517)
            await asyncio.sleep(0.05)
            assert not moving.done()
        paper.stand(APPROACH, CLEAR)
        paper.width_mm = HELD_MM
        assert isinstance((await moving).report, AllDone)

    with_arm(paper, story)


def test_a_halt_overtakes_a_motion_and_what_it_answers_is_dropped() -> None:
    paper = PaperArm()

    async def story(arm: BrooksPf400) -> None:
        await arm.prepare(PICK)
        paper.mute = {"PickPlate"}
        going = asyncio.ensure_future(arm.trigger(PICK, FIRST))
        await asyncio.sleep(1)
        await arm.quieten(Quieten.LEAVE_RUNNING)
        assert "halt" not in paper.names
        await arm.quieten(Quieten.HALT)
        with pytest.raises(OutcomeUnknownError):
            await going
        assert b"\n" in paper.written
        assert paper.names.count("halt") == 1
        assert paper.names.count("PickPlate") == 1

    with_arm(paper, story)


def test_silence_and_an_answer_of_another_form_are_unknown() -> None:
    paper = PaperArm()
    paper.mute = {"wherej"}

    async def story(arm: BrooksPf400) -> None:
        with pytest.raises(OutcomeUnknownError):
            await arm.standing()
        assert paper.names.count("wherej") == 3
        paper.mute = set()
        for strange in ("0 1.0 two", "0 -1", "0 TCP Command Server 3.0D4"):
            paper.errors = {"wherej": strange}
            with pytest.raises(OutcomeUnknownError):
                await arm.standing()

    with_arm(paper, story)


@pytest.mark.parametrize(
    "changed",
    [
        {"grip_width_mm": 200.0},
        {"open_width_mm": 88.0},
        {"grip_force_n": 50},
        {"speed_percent": 0},
        {"stations": {"dock": station(), "rotor": station()}},
        {"unknown": 1},
    ],
)
def test_settings_beyond_the_sheet_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**changed)
