"""Measure how fast this host is on the real path."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestrator.cli.demo import PROTOCOL
from orchestrator.cli.options import AsJson, DataFolder, data_folder
from orchestrator.cli.printing import in_columns, say, say_json
from orchestrator.cli.recipes import written_recipe


def run(data: DataFolder = None, as_json: AsJson = False) -> None:
    """Measure acts, events, syncs, replay, verification and a batch on this host's disk."""
    from orchestrator.process_cell.bench import measured
    from orchestrator.process_cell.simulation import simulate

    folder = data_folder(data)
    figures = measured(folder)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as kept:
        outcome = simulate(written_recipe(PROTOCOL), Path(kept), seed=1)
    figures["virtual_days_per_s"] = round(outcome.virtual_days / outcome.wall_s, 2)
    if as_json:
        say_json(figures)
        return
    say(in_columns((name.replace("_", " "), str(value)) for name, value in figures.items()))
