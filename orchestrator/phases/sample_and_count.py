"""Draw a sample from a docked kit and count its cells."""

from __future__ import annotations

from typing import Final, Literal

from devices.interfaces.cell_count import CountCells
from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, Effect, OnInterruption, Quieten, Touch
from orchestrator.kernel.identifiers import SampleId
from orchestrator.kernel.quantities import CellDensity, Fraction, Range, Volume, between, minute
from orchestrator.phases.deviating import accepted
from orchestrator.phases.handwork import RACK, SAMPLING, by_hand
from orchestrator.phases.joints import is_part_of, prove_joined
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.pumping import exactly
from orchestrator.phases.setting_down import set_down

COUNTS_MOST: Final = 3
"""Counts of one sample: after that it is accepted as a deviation, or not."""

COUNT_WITHIN: Final = 15 * minute
"""Set by site: past this a count is overdue."""


class SampleAndCount(PhaseModel):
    """Have ``sample_volume`` drawn from ``source`` into ``tube``, and count it.

    The docked kit is scanned afresh. Tube and source are scanned where the tube is put to the
    sample port, before anything is drawn into it, and the tube again where it stands in the
    counter. A result that isn't as expected is put to two people: accept it as a
    deviation, count the same sample again (every result is kept), or stop.

    Effect: takes patient material. Interrupted: hand work waits for its report; a count
    is made again on the same sample (CONTINUE).
    """

    kind: Literal["sample_and_count/1"] = "sample_and_count/1"
    kit: str
    station: str
    source: str
    sample_volume: Volume
    counter: str
    tube: str
    density: Range[CellDensity]
    viability_at_least: Fraction

    def claims(self) -> Claims:
        drawn = exactly(self.sample_volume)
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                Touch(container=self.source, how=Contact.DRAWS, volume=drawn),
                Touch(container=self.tube, how=Contact.RECEIVES, volume=drawn),
                Touch(container=self.tube, how=Contact.MOVES),
                Touch(container=self.tube, how=Contact.MEASURES),
            ),
            needs=(
                (self.station, "scanning"),
                (self.station, "hands"),
                (self.counter, "cell_count"),
                (self.counter, "hands"),
            ),
            duration=between(5 * minute, 120 * minute),
            consumes_patient_material=True,
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.CONTINUE,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the kit stands docked with its clamps shut",
        )

    def sentence(self) -> str:
        return (
            f"Draw {self.sample_volume} from the {self.source} into the {self.tube} and count "
            f"its cells in the {self.counter}; two people decide unless {self.density} are "
            f"viable, and at least {self.viability_at_least} of all."
        )

    async def run(self, outside: Outside) -> Report:
        tray = outside.container(self.kit)
        source = outside.container(self.source)
        tube = outside.container(self.tube)
        rack = outside.place(self.station, RACK)
        in_counter = outside.place(self.counter)
        proven = await prove_joined(
            outside, station=self.station, kit=self.kit, carried_suffices=False
        )
        apart = () if is_part_of(source, tray) else (source,)
        _, at_port = await set_down(
            outside,
            self.station,
            Handwork.LOAD,
            f"Put tube {tube} to the sample port of {source}"
            + "".join(f", and hang {bag} there" for bag in apart),
            (*apart, tube),
            outside.place(self.station, SAMPLING),
        )
        drawn = await by_hand(
            outside,
            self.station,
            Handwork.DRAW_SAMPLE,
            f"Draw {self.sample_volume} from {source} at the sample port into tube {tube}",
            proven=(*proven, *at_port),
            containers=(source, tube),
            kit=outside.kit(self.kit),
            parameters={"volume": str(self.sample_volume)},
        )
        filled = at_port[-1]
        await by_hand(
            outside,
            self.counter,
            Handwork.LOAD_COUNTER,
            f"Put tube {tube} into the counter at {in_counter}",
            proven=(filled,),
            containers=(tube,),
            at=(in_counter,),
        )
        loaded = await outside.see(Identify(unit=self.station, container=tube, place=in_counter))
        count = CountCells(
            unit=self.counter,
            sample=SampleId(str(tube)),
            tube=tube,
            longest=COUNT_WITHIN,
            on_interruption=OnInterruption.CONTINUE,
            quieten=Quieten.LEAVE_RUNNING,
        )
        deviation = ""
        made = 0
        while True:
            counted = await outside.do(count, proven=(loaded,))
            made += 1
            deviation = self._unexpected(counted)
            if not deviation or await accepted(
                outside,
                f"count {made} of sample {count.sample}",
                deviation,
                evidence=counted.detail,
                may_repeat=made < COUNTS_MOST,
            ):
                break
        await by_hand(
            outside,
            self.counter,
            Handwork.UNLOAD_COUNTER,
            f"Take tube {tube} out of the counter and put it at {rack}",
            proven=(loaded,),
            containers=(tube,),
            at=(rack,),
        )
        report = {"sample": str(count.sample), "counts": str(made), **counted.detail}
        report |= {f"drawn_{name}": text for name, text in drawn.detail.items()}
        if deviation:
            report["deviation"] = deviation
        return report

    def _unexpected(self, counted: Effect) -> str:
        """Return in words what isn't as expected; empty if all is."""
        try:
            density = CellDensity.read(counted.detail.get("viable_density", ""))
            viability = Fraction.read(counted.detail.get("viability", ""))
        except ValueError:
            return "the counter gave no viable density and viability that can be read"
        wrong: list[str] = []
        if density not in self.density:
            wrong.append(f"{density} viable; {self.density} is expected")
        if viability < self.viability_at_least:
            wrong.append(f"viability {viability}; at least {self.viability_at_least} is expected")
        return "; ".join(wrong)
