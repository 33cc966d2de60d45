"""Validation, escaping and redaction of texts for journals, pages and terminals."""

import re

from wheelyard.errors import Invalid, quoted

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, bidirectional controls, lone surrogates."""

_SECRETS = re.compile(
    r"(wyd_)[A-Za-z0-9_]+"  # an API token, also truncated
    r"|((?i:wyd[_-]))[A-Za-z0-9]{20,}"  # an API token with the prefix in the form of a name
    r"|(ya29\.)[\w.-]+"  # Google access tokens
    r"|(eyJ)[\w-]{4,}(?:\.[\w-]*)*"  # JWTs: ID tokens
)


def require_one_line(text: str, what: str, limit: int) -> str:
    """
    Return `text`, which may be empty, if it is one line without control characters.

    Raises:
        Invalid: It has more than `limit` characters, or a control character (code
            `invalid_field`). The message begins with `what`, a name of the text.
    """
    if len(text) > limit:
        message = f"{what} has {len(text)} characters. Use at most {limit}."
        raise Invalid(message, code="invalid_field")
    found = _NO_TEXT.search(text)
    if found is not None:
        raise Invalid(
            f"{what} has the character {quoted(found[0])} in it. "
            "Write one line of text without control characters.",
            code="invalid_field",
        )
    return text


def to_one_line(text: str, limit: int) -> str:
    """Return `text` cut at `limit` characters, with a space for each run of blanks and controls."""
    return " ".join(_NO_TEXT.sub(" ", text).split())[:limit]


def escaped(text: str) -> str:
    """Return `text` with unprintable characters escaped, so that a terminal is safe."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def counted(number: int, thing: str) -> str:
    """Return a number with a noun: `1 file`, `2 files`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def redact_tokens(text: str) -> str:
    """Return `text` with each API token, Google access token and JWT as its prefix and `***`."""
    return _SECRETS.sub(lambda found: f"{found[found.lastindex or 0]}***", text)
