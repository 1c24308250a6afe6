"""Rules that a recipe is checked by, one file for each family.

A rule reads the recipe, its phases' claims and what equipment can do; nothing else, so
it answers the same on a laptop and in an audit. It never stops at the first finding, and
a new kind of phase needs no new rule.

Families: U units, L limits, I identity, C closed system, M material balance, H holds,
R resumption, S signatures, P the file itself.
"""

from __future__ import annotations
