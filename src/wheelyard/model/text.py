"""Text that people write, and that others read in one line of a journal, a page or a terminal."""

import re

from wheelyard.errors import Invalid, quoted

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, line and paragraph separators, what turns the direction of writing, half characters."""

_SECRETS = re.compile(
    r"(wyd_)[A-Za-z0-9_]+"  # an API token, or as much of one as is there
    r"|((?i:wyd[_-]))[A-Za-z0-9]{20,}"  # the same, as a name is written
    r"|(ya29\.)[\w.-]+"  # Google's access tokens
    r"|(eyJ)[\w-]{4,}(?:\.[\w-]*)*"  # what is signed: ID tokens, statements of jobs
)


def require_one_line(text: str, what: str, limit: int) -> str:
    """
    Return `text` if it is one line that every terminal shows as it was written; it may be empty.

    Raises:
        Invalid: It has more than `limit` characters, or one that is none of a line (code
            `invalid_field`). The sentence begins with `what`.
    """
    if len(text) > limit:
        raise Invalid(
            f"{what} has {len(text)} characters. Use at most {limit}.", code="invalid_field"
        )
    found = _NO_TEXT.search(text)
    if found is not None:
        raise Invalid(
            f"{what} has the character {quoted(found[0])} in it. "
            "Write one line of text without control characters.",
            code="invalid_field",
        )
    return text


def to_one_line(text: str, limit: int) -> str:
    """Return `text` as one line of at most `limit` characters, whatever somebody else wrote."""
    return " ".join(_NO_TEXT.sub(" ", text).split())[:limit]


def escaped(text: str) -> str:
    """Return `text` with every character escaped that a terminal would not show but obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def counted(number: int, thing: str) -> str:
    """Return a number of things: `1 file`, `2 files`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def redact_tokens(text: str) -> str:
    """Return `text` with three stars in the place of every token that is known by its form."""
    return _SECRETS.sub(lambda found: f"{found[found.lastindex or 0]}***", text)
