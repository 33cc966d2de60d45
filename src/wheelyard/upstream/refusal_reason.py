"""Reads from an answer, which nobody can trust, why an upstream index refuses a request."""

import re
from contextlib import suppress
from html import unescape
from typing import Final

import msgspec

from wheelyard.model.decoding import escaped, to_one_line

REASON_BYTES: Final = 16 * 1024
"""Bytes of an answer that are read."""
REASON_CHARS: Final = 200
"""Characters of the reason that are shown."""
MAX_DEPTH: Final = 3
"""Levels of objects and lists that are looked into."""
MAX_ITEMS: Final = 5
"""Items of a list that are looked into."""
REASON_KEYS: Final = ("reason", "message", "detail", "errors", "error", "description", "title")
"""Members of a JSON object that say why, the best one first (RFC 9457, Artifactory, Nexus)."""

_UNSHOWN: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|title)\b.*?(?:</\1\b[^<>]*>?|\Z)", re.IGNORECASE | re.DOTALL
)
"""Parts of an HTML page that a browser does not show as text of the page."""
_MARKUP: Final = re.compile(r"<[a-z/!?][^<>]*>?", re.IGNORECASE)
_TERMINAL: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""Matches the sequences by which a terminal changes colours or moves its cursor."""


def reason_in(body: bytes) -> str:
    """
    Return the reason in the answer of a refusal, on one printable line without markup.

    At most `REASON_CHARS` characters are left. The line is empty if the answer has no text.
    """
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):  # the body is no JSON
        document = msgspec.json.decode(body)
        text = _reason_of(document, MAX_DEPTH) or text
    text = _TERMINAL.sub("", text)
    text = _UNSHOWN.sub(" ", text)
    text = unescape(_MARKUP.sub(" ", text))
    # again, as somebody may take what is written as an entity for markup
    line = to_one_line(_MARKUP.sub(" ", text), REASON_CHARS + 1)
    if len(line) > REASON_CHARS:
        line = f"{line[: REASON_CHARS - 3]}..."
        return escaped(line)
    return escaped(line.rstrip("."))


def _reason_of(document: object, depth: int) -> str:
    """Return the text that says why in a JSON document, or an empty text."""
    if isinstance(document, str):
        return document
    if depth == 0:
        return ""
    candidates = list[object]()
    if isinstance(document, list):
        candidates += document[:MAX_ITEMS]
    elif isinstance(document, dict):
        candidates += map(document.get, REASON_KEYS)
    for candidate in candidates:
        reason = _reason_of(candidate, depth - 1)
        if reason:
            return reason
    return ""
