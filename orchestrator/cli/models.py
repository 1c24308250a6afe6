"""``cellwright models``: which models of instruments have a driver."""

from __future__ import annotations

from devices.sheets.sheet import models, sheet_of
from orchestrator.cli.options import AsJson
from orchestrator.cli.printing import in_columns, say, say_json


def run(as_json: AsJson = False) -> None:
    """List the models of instruments that have a driver, and what is known of each.

    With --json one object a line with model, capability, transports, source,
    tried_on_hardware and can_tell_after_crash.
    """
    sheets = [sheet_of(model) for model in models()]
    if as_json:
        for sheet in sheets:
            say_json(
                {
                    "model": sheet.model,
                    "capability": sheet.capability,
                    "transports": list(sheet.transports),
                    "source": sheet.source,
                    "tried_on_hardware": sheet.tried_on_hardware,
                    "can_tell_after_crash": sheet.can_tell_after_crash,
                }
            )
        return
    rows = [("MODEL", "CAPABILITY", "TRANSPORTS", "TRIED ON HARDWARE", "INSTRUMENT")]
    rows += [
        (
            sheet.model,
            sheet.capability,
            ", ".join(sheet.transports),
            "yes" if sheet.tried_on_hardware else "no",
            f"{sheet.maker} {sheet.name}",
        )
        for sheet in sheets
    ]
    say(in_columns(rows))
    say()
    say("After a crash each can tell what was done by:")
    say(in_columns([(f"  {sheet.model}", sheet.can_tell_after_crash) for sheet in sheets]))
    say()
    say("Written from:")
    say(in_columns([(f"  {sheet.model}", sheet.source) for sheet in sheets]))
