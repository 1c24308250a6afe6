"""What every kind of phase is: frozen parameters, claims, and straight-line work.

One kind of phase is one file in this folder. Its ``kind`` carries a behaviour version
(``transfer/1``): a change of what ``run`` asks, in which order, is a new version in a
new class, and the old one stays while a batch or an approved recipe needs it. Versions
start to count with the first release: before it nothing needs old code.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, cast

from pydantic import BeforeValidator, Field, SerializeAsAny

from orchestrator.kernel.acts import Claims
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import Duration
from orchestrator.phases.outside import Outside

Report = dict[str, str]
"""What a phase found, by name, as text; ``Measured`` amounts are read from it."""


class PhaseModel(Frozen):
    """The parameters of one phase, as they stand in the recipe."""

    kinds: ClassVar[dict[str, type[PhaseModel]]] = {}

    kind: str
    longest_hold: Duration = Field(description="Held longer than this, the material is at risk")
    measures: dict[str, str] = Field(
        default={}, description="Names in the phase's report to names of measured amounts"
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Make the kind readable back from recipes."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.kinds[cls.model_fields["kind"].default] = cls

    def claims(self) -> Claims:
        """Return what a check needs to know of this phase without running it."""
        raise AssertionError(f"{type(self).__name__} claims nothing")

    def sentence(self) -> str:
        """Return what the phase does, as one sentence of the numbered procedure."""
        raise AssertionError(f"{type(self).__name__} has no sentence")

    async def run(self, outside: Outside) -> Report:
        """Do the work, by the four words of ``outside`` only."""
        raise AssertionError(f"{type(self).__name__} does nothing")


def _phase_of_its_kind(value: Any) -> Any:
    if isinstance(value, PhaseModel):
        return value
    if not isinstance(value, dict):
        raise ValueError("a phase must be an object with a kind")
    kind = cast("dict[str, Any]", value).get("kind")
    if not isinstance(kind, str) or kind not in PhaseModel.kinds:
        known = ", ".join(sorted(PhaseModel.kinds))
        raise ValueError(f"unknown kind of phase {kind!r}; known: {known}")
    return PhaseModel.kinds[kind].model_validate(value)


AnyPhase = Annotated[SerializeAsAny[PhaseModel], BeforeValidator(_phase_of_its_kind)]
"""A phase that comes back from a recipe as its own class."""
