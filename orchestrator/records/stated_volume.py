"""A volume as a journal states it: a record is made also where one can't be read.

What can't be read is a finding of the material's account, which names the event.
"""

from __future__ import annotations

from orchestrator.kernel.quantities import Volume


def stated_volume(text: str) -> Volume | None:
    """Return the volume that a text of the journal states; None if it states none."""
    try:
        return Volume.read(text)
    except ValueError:
        return None
