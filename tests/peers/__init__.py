"""One dosing job under cellwright and under other orchestrators, killed again and again."""
