"""Secrets that somebody has put where they do not belong, in a text that others read."""

import re
from typing import Final

MASK: Final = "***"

_SECRETS: Final = re.compile(
    r"(wyd_)[A-Za-z0-9_]+"  # an API token, or as much of one as is there
    r"|((?i:wyd[_-]))[A-Za-z0-9]{20,}"  # the same, as a name is written
    r"|(ya29\.)[\w.-]+"  # Google's access tokens
    r"|(eyJ)[\w-]{4,}(?:\.[\w-]*)*"  # what is signed: ID tokens, statements of jobs
)


def masked(text: str) -> str:
    """Return `text` with three stars in the place of every token that is known by its form."""
    return _SECRETS.sub(lambda found: f"{found[found.lastindex or 0]}{MASK}", text)
