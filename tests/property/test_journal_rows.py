"""A row has one text and a text one row, whatever people write into an event."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.journal.journal import Row, is_intact, leaf_of, row_text
from orchestrator.kernel.canonical import canonical

PLAIN = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1
)
FREE = st.text(st.characters(exclude_categories=["Cs"]))
WHOLE = st.integers(0, 2**53 - 1)
BODIES = st.dictionaries(st.sampled_from(["kind", "boot", "x_1"]), FREE | WHOLE | st.lists(FREE))


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Return a row as the journal stores it."""
    body = canonical(draw(BODIES)).decode()
    at_utc, host, boot, stream, kind = (draw(PLAIN) for _ in range(5))
    columns = (draw(WHOLE), host, draw(WHOLE), boot, at_utc, draw(WHOLE), stream, kind, body)
    return Row(*columns, leaf=leaf_of(row_text(*columns)))


@given(row=rows())
def test_the_text_of_a_row_is_the_canonical_json_of_its_columns(row: Row) -> None:
    columns = row._asdict()
    del columns["leaf"]
    columns["body"] = json.loads(row.body)
    assert row_text(*row[:-1]).encode() == canonical(columns)
    assert is_intact(row)


@given(row=rows(), other=rows(), data=st.data())
def test_a_row_with_any_column_of_another_is_not_intact(
    row: Row, other: Row, data: st.DataObject
) -> None:
    column = data.draw(st.sampled_from(Row._fields))
    changed = row._replace(**{column: getattr(other, column)})
    assert is_intact(changed) == (changed == row)


@given(
    row=rows(),
    column=st.sampled_from(Row._fields),
    value=st.sampled_from([None, 1.0, b"x", '"', "\\", True]),
)
def test_a_column_of_another_type_or_with_a_quote_is_not_intact(
    row: Row, column: str, value: object
) -> None:
    assert not is_intact(row._replace(**{column: value}))
