"""Fields of a query string."""

import re
from urllib.parse import parse_qs

from wheelyard.errors import Invalid, quoted

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


def query_field(query: bytes, name: str) -> str | None:
    """Return the values of a field of a query string, joined; None if it is missing."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name)
    return None if values is None else ", ".join(values)


def parse_after(query: bytes) -> int:
    """Return the number in the field `after` of a query string, by default 0; or raise Invalid."""
    text = query_field(query, "after")
    if text is None:
        return 0
    if not _NUMBER.fullmatch(text):
        raise Invalid(
            f"'after' is {quoted(text)}. Send the number of one commit, in digits.",
            code="invalid_field",
        )
    return int(text)
