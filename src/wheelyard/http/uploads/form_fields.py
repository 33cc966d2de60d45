"""
The text fields of an upload form: which are checked, and which values they accept.

Attestations (PEP 740) must be JSON, and are not stored.
"""

import re
from codecs import utf_8_decode
from hashlib import blake2b, md5, sha256
from typing import TYPE_CHECKING, Final

from msgspec import DecodeError
from msgspec.json import decode

from wheelyard.errors import Invalid, quoted
from wheelyard.http.uploads.multipart_parser import bad_encoding
from wheelyard.settings.sections import MIB

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher

ACTION_FIELD: Final = ":action"
UNSUPPORTED_ACTIONS: Final = frozenset({"submit", "verify", "doc_upload"})
"""Actions of old clients besides uploading."""
DIGEST_LENGTHS: Final = {
    "sha256_digest": (64,),
    "blake2_256_digest": (64, 128),  # distutils sends a BLAKE2b of full length under this name
    "md5_digest": (32,),
}
"""The fields with a digest of the file, and the numbers of hexadecimal digits of each."""
CHECKED_FIELDS: Final = frozenset(
    {ACTION_FIELD, "protocol_version", "name", "version", "filetype", *DIGEST_LENGTHS}
)
"""The fields whose values are checked. A form may have each of them once."""
MAX_FIELD_CHARACTERS: Final = 1024
"""Characters of a checked field."""
ATTESTATIONS_FIELD: Final = "attestations"
MAX_ATTESTATIONS_CHARACTERS: Final = 512 << 10
"""Characters of the field. Parsing its JSON takes about twenty times as much memory."""
FILETYPE_SUFFIXES: Final = {"bdist_wheel": (".whl",), "sdist": (".tar.gz", ".zip")}
"""Values of `filetype`, and how the filenames of each end."""

_NUL = re.compile("\x00")
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line breaks and marks of writing direction."""


class FieldDecoder:
    """Decodes and checks the text of a form field, chunk by chunk; keeps it only if it is used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        """The text so far of a checked field or of `attestations`; empty for other fields."""
        is_checked = name in CHECKED_FIELDS
        self._forbidden = _CONTROL_CHARACTERS if is_checked or name == "summary" else _NUL
        self._is_kept = is_checked or name == ATTESTATIONS_FIELD
        self._limit = MAX_FIELD_CHARACTERS if is_checked else MAX_ATTESTATIONS_CHARACTERS
        self._rest = b""
        """The first bytes of a character that the next bytes end."""

    def write(self, data: bytes) -> None:
        """Decode the next bytes; raise Invalid if the text has bad characters or is too long."""
        data = self._rest + data
        try:
            text, decoded = utf_8_decode(data)
        except UnicodeDecodeError as error:
            raise bad_encoding(f"The field {quoted(self.name)}") from error
        self._rest = data[decoded:]
        if self._forbidden.search(text):
            raise invalid_field(
                f"The field {quoted(self.name)} holds a character that does not belong in "
                "text of its kind. Remove control characters and line breaks."
            )
        if self._is_kept:
            self.text += text
            if len(self.text) > self._limit:
                raise invalid_field(
                    f"The field {quoted(self.name)} is longer than {self._limit} characters."
                )

    def finish(self) -> None:
        """Raise Invalid if the text ends within a character."""
        if self._rest:
            raise bad_encoding(f"The field {quoted(self.name)}")


def checked_value(field: str, text: str) -> str:
    """
    Return the value of a checked field; raise Invalid if the field does not accept it.

    It is empty for a blank or UNKNOWN text. A digest is in lower case.
    """
    if text.strip() in ("", "UNKNOWN"):
        return ""
    if field == ACTION_FIELD and text != "file_upload" and text not in UNSUPPORTED_ACTIONS:
        raise Invalid(
            f"':action' is {quoted(text)}, and only 'file_upload' is supported here. "
            "Upload with a current client, or leave ':action' out.",
            code="invalid_action",
        )
    if field == "protocol_version" and text != "1":
        raise invalid_field(f"'protocol_version' is {quoted(text)}. Send 1, or leave it out.")
    if field == "filetype" and text not in FILETYPE_SUFFIXES:
        raise invalid_field(
            f"'filetype' is {quoted(text)}. Upload a wheel (bdist_wheel) or an sdist (sdist)."
        )
    lengths = DIGEST_LENGTHS.get(field)
    if lengths is None:
        return text
    if len(text) not in lengths or not re.fullmatch("[0-9A-Fa-f]*", text):
        raise invalid_field(
            f"{quoted(field)} must be {lengths[0]} hexadecimal digits, or be left out."
        )
    return text.lower()


def contains_attestations(text: str) -> bool:
    """Return whether the text of `attestations` has any; raise Invalid if it is not JSON."""
    try:
        return bool(decode(text))
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise invalid_field(
            "The field 'attestations' is not JSON. Upload without attestations."
        ) from error


def new_hasher(algorithm: str, declared: str) -> "Hasher":
    """Return a new hash object: SHA-256, MD5, else a BLAKE2b as long as the digest `declared`."""
    if algorithm == "sha256":
        return sha256()
    if algorithm == "md5":
        return md5(usedforsecurity=False)
    return blake2b(digest_size=len(declared) // 2)


def invalid_field(message: str) -> Invalid:
    """Return the error, with this message, for a form field with an invalid value."""
    return Invalid(message, code="invalid_field")


def field_too_large(what: str, limit: int) -> Invalid:
    """Return the error for form data of more than `limit` bytes; `what` names the data."""
    return Invalid(
        f"{what} is larger than {limit / MIB:g} MiB. Send less metadata with the file.",
        code="too_large",
    )
