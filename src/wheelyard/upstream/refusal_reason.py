"""Why an upstream index refuses something, in a few words of its answer, which nobody can trust."""

import re
from contextlib import suppress
from html import unescape
from typing import Final

import msgspec

from wheelyard.model.decoding import escaped, to_one_line

REASON_BYTES: Final = 16 * 1024
"""Bytes of an answer that are read."""
REASON_CHARS: Final = 200
"""Characters of it that are shown."""
MAX_DEPTH: Final = 3
"""Objects and lists in each other that are looked into."""
REASON_KEYS: Final = ("reason", "message", "detail", "errors", "error", "description", "title")
"""Members of a JSON object that say why, the best one first (RFC 9457, Artifactory, Nexus)."""

_UNSHOWN: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|title)\b.*?(?:</\1\b[^<>]*>?|\Z)", re.IGNORECASE | re.DOTALL
)
"""Parts of an HTML page that a browser does not show in it."""
_MARKUP: Final = re.compile(r"<[a-z/!?][^<>]*>?", re.IGNORECASE)
_TERMINAL: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""Matches the sequences by which a terminal changes colours or moves its cursor."""


def reason_in(body: bytes) -> str:
    """
    Return what the answer of a refusal says, on one printable line without markup, or nothing.

    At most `REASON_CHARS` characters of the text are left.
    """
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):  # it is no JSON
        text = _reason_of(msgspec.json.decode(body), MAX_DEPTH) or text
    text = unescape(_MARKUP.sub(" ", _UNSHOWN.sub(" ", _TERMINAL.sub("", text))))
    # again, as what is written as an entity may be taken for markup by somebody
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
        candidates += document[:5]
    elif isinstance(document, dict):
        candidates += map(document.get, REASON_KEYS)
    for candidate in candidates:
        reason = _reason_of(candidate, depth - 1)
        if reason:
            return reason
    return ""
