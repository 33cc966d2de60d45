"""What a query of the API may have for each of its fields."""

import pytest
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from tests.refused import refused
from wheelyard.api.operation import decode_query
from wheelyard.api.table import OPERATIONS
from wheelyard.errors import Invalid

OPTIONAL = [
    (operation.path, operation.body_type, field)
    for operation in OPERATIONS
    if operation.method == "GET" and operation.body_type is not None
    for field in fields(operation.body_type)
    if field.default is None
]
"""The fields of queries that are None if they are not sent."""


@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, field) for _, kind, field in OPTIONAL],
    ids=[f"{path} {field.encode_name}" for path, _, field in OPTIONAL],
)
@pytest.mark.parametrize("text", ["null", "NULL", ""])
def test_what_is_sent_never_counts_as_not_sent(
    kind: type[Struct], field: FieldInfo, text: str
) -> None:
    """The word null and an empty text are values or refused, and never count as left out."""
    required = [f"{each.encode_name}=x" for each in fields(kind) if each.required]
    query = "&".join((*required, f"{field.encode_name}={text}")).encode()

    try:
        sent = getattr(decode_query(query, kind), field.name)
    except Invalid as fault:
        sent = fault.code
    assert sent in {text, "invalid_field"}


@pytest.mark.parametrize("text", ["1", "1e3", "-1", "1700000000", "2026-01-31", "null"])
def test_a_time_is_written_as_one(text: str) -> None:
    """A number is no time, though a conversion would take it for seconds."""
    (journal,) = [row for row in OPERATIONS if row.path == "journal"]
    assert journal.body_type is not None
    with refused(Invalid, "invalid_field", match="until must be a time with its offset"):
        decode_query(f"until={text}".encode(), journal.body_type)
    decode_query(b"until=2026-01-31T00:00:00Z", journal.body_type)
