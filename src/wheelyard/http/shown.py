"""What a client has sent, as it may be shown to others: in one line, and without a token in it."""

from typing import Final
from urllib.parse import unquote

from wheelyard.model.masking import masked
from wheelyard.model.text import escaped

LIMIT: Final = 512
"""Characters."""


def shown(text: bytes) -> str:
    """Return the beginning of a path or a header for a log or a collector."""
    begun = text[:LIMIT].decode("latin-1")
    decoded = unquote(begun)
    veiled = masked(decoded)  # in whatever way it is written
    return escaped(begun if veiled == decoded else veiled).replace('"', "%22")
