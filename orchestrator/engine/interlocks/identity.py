"""No proof, no movement: each container of a patient that an act touches is proven here."""

from __future__ import annotations

from chain_of_identity.gate import BREAKS
from orchestrator.engine.interlocks.permit import Permit
from orchestrator.engine.materials import SHARED
from orchestrator.engine.register import FoldedRegister
from orchestrator.kernel.identifiers import ContainerId


def identity(permit: Permit) -> str | None:
    """Refuse unless every touched container of a patient has an unbroken proof.

    A kit's proof covers the containers that are part of it, and so does its quarantine.
    Reagents and tubes need none while they are nobody's; once a patient's cells are in them
    they do.
    """
    register: FoldedRegister | None = None
    for name in permit.act.touches():
        container = permit.state.containers.get(name)
        if container is None:
            return f"{name} was never received"
        if container.batch and container.batch != permit.batch_name:
            return f"{name} was bound to another batch"
        if container.coi and container.coi != permit.batch.coi:
            return f"{name} belongs to another patient"
        if container.quarantined:
            return f"{name} is in quarantine: {container.quarantined}"
        covered_by = container.kit if container.what == "kit" and container.kit else name
        tray = permit.state.containers.get(covered_by)
        if tray is not None and tray.quarantined:
            return f"{covered_by}, of which {name} is part, is in quarantine: {tray.quarantined}"
        if container.what in SHARED and not container.coi:
            continue
        proof = next((one for one in permit.proven if one.container in (name, covered_by)), None)
        if proof is None:
            return f"{name} was not proven to be this patient's"
        if proof.batch != permit.batch_name or proof.coi != permit.batch.coi:
            return f"the proof of {name} is another patient's"
        if register is None:
            register = FoldedRegister(permit.state, permit.cell)
        broken = register.broken_since(ContainerId(str(proof.container)), proof.since)
        if broken is not None:
            return f"the proof of {proof.container} is spent: {BREAKS[broken]}"
    return None
