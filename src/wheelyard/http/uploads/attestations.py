"""The field `attestations` of an upload form (PEP 740): it must be JSON, and is not stored."""

from typing import Final

from msgspec import DecodeError
from msgspec.json import decode

from wheelyard.http.uploads.form_errors import invalid_field

ATTESTATIONS_FIELD: Final = "attestations"
MAX_ATTESTATIONS_CHARACTERS: Final = 512 << 10
"""Characters of the field. Parsing its JSON takes about twenty times as much memory."""
ATTESTATIONS_NOT_STORED: Final = (
    "The attestations were not kept, as this index does not store any yet. The file was accepted."
)


def contains_attestations(text: str) -> bool:
    """Return whether the text of `attestations` has any; raise Invalid if it is not JSON."""
    try:
        return bool(decode(text))
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise invalid_field(
            "The field 'attestations' is not JSON. Upload without attestations."
        ) from error
