"""The fields of an upload form, and which values they accept."""

import re
from codecs import getincrementaldecoder
from hashlib import blake2b, md5, sha256
from typing import TYPE_CHECKING, Final

from msgspec import DecodeError
from msgspec.json import decode

from wheelyard.errors import Invalid, quoted
from wheelyard.http.uploads.multipart_parser import bad_encoding

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher

ACTION_FIELD: Final = ":action"
UNSUPPORTED_ACTIONS: Final = frozenset({"submit", "verify", "doc_upload"})
"""What old clients did besides uploading."""
DIGEST_LENGTHS: Final = {
    "sha256_digest": (64,),
    "blake2_256_digest": (64, 128),
    "md5_digest": (32,),
}
"""
How many hexadecimal digits each digest can have that a client may send.

distutils calls a BLAKE2b of full length `blake2_256_digest`.
"""
CHECKED_FIELDS: Final = frozenset(
    {ACTION_FIELD, "protocol_version", "name", "version", "filetype", *DIGEST_LENGTHS}
)
"""The fields that are looked at; a form has each of them once at most."""
MAX_FIELD_CHARACTERS: Final = 1024
"""Characters of each of them."""
ATTESTATIONS_FIELD: Final = "attestations"
MAX_ATTESTATIONS_CHARACTERS: Final = 512 << 10
"""Characters of `attestations`: checking its JSON takes some twenty times as much memory."""
FILETYPE_SUFFIXES = {"bdist_wheel": (".whl",), "sdist": (".tar.gz", ".zip")}
_NUL = re.compile("\x00")
_NOT_ON_A_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class FieldDecoder:
    """A field's text, decoded and checked as it comes, and kept only if somebody wants it whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        is_claim = name in CHECKED_FIELDS
        self._forbidden = _NOT_ON_A_LINE if is_claim or name == "summary" else _NUL
        self._is_kept = is_claim or name == ATTESTATIONS_FIELD
        self._limit = MAX_FIELD_CHARACTERS if is_claim else MAX_ATTESTATIONS_CHARACTERS
        self._decoder = getincrementaldecoder("utf-8")()

    def write(self, data: bytes, *, final: bool = False) -> None:
        """Take the next bytes, which must be UTF-8 and belong in such a field."""
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise bad_encoding(f"The field {quoted(self.name)}") from error
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


def invalid_field(message: str) -> Invalid:
    """Return the error for a field with an invalid value."""
    return Invalid(message, code="invalid_field")


def checked_value(field: str, text: str) -> str:
    """Return what a field of CLAIM_FIELDS claims, empty if it is as good as missing."""
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
    if field not in DIGEST_LENGTHS:
        return text
    if len(text) not in DIGEST_LENGTHS[field] or not re.fullmatch("[0-9A-Fa-f]*", text):
        raise invalid_field(
            f"{quoted(field)} must be {DIGEST_LENGTHS[field][0]} hexadecimal digits, "
            "or be left out."
        )
    return text.lower()


def has_attestations(text: str) -> bool:
    """Return whether the field `attestations` holds any."""
    try:
        return bool(decode(text))
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise invalid_field(
            "The field 'attestations' is not JSON. Upload without attestations."
        ) from error


def new_hasher(algorithm: str, claimed: str) -> "Hasher":
    """Return a hash object for a digest as long as `claimed`."""
    if algorithm == "sha256":
        return sha256()
    if algorithm == "md5":
        return md5(usedforsecurity=False)
    return blake2b(digest_size=len(claimed) // 2)
