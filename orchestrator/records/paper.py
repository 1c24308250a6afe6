"""A batch record as text for paper: 100 columns, what needs a reviewer on the first page.

The first page says what the record is, what stands open, and every departure; the figures
follow, then the procedure step by step, then the tables. A number in brackets is the
journal's number of the event that the line rests on. Every field of the record is printed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from itertools import batched, groupby
from typing import Final

from orchestrator.kernel.instants import Instant
from orchestrator.recipe.render import for_people
from orchestrator.records.record_model import (
    ActEntry,
    ActRefusedEntry,
    AnswerEntry,
    AttemptEntry,
    BatchRecord,
    ConditionEntry,
    Entry,
    FailureEntry,
    IdentityEntry,
    IdentityRefusedEntry,
    PhaseEntry,
    SeenEntry,
    SignatureEntry,
    StateEntry,
    WaitEntry,
)

WIDTH: Final = 100
