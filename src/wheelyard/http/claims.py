"""
The fields of an upload's form: what each may hold, and whether what it claims of the file is so.

The archive is the truth, so a claim may be missing; but every claim made must hold. A field that
claims nothing is ignored; but text must be text, in UTF-8. Follows the upload API of the packaging
specifications (the "legacy" API).
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b, file_digest, md5, sha256
from typing import TYPE_CHECKING

from msgspec import DecodeError
from msgspec.json import decode

from wheelyard.errors import Invalid, quoted
from wheelyard.http.multipart import bad_encoding
from wheelyard.operations.spooling import SHA256, Spooling
from wheelyard.storage.faults import storage_faults

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher

ACTION = ":action"
RETIRED_ACTIONS = frozenset({"submit", "verify", "doc_upload"})
"""What old clients did besides uploading."""
DIGEST_SIZES = {SHA256: (64,), "blake2_256": (64, 128), "md5": (32,)}
"""
The digests that a client may send, in hexadecimal digits.

distutils calls a BLAKE2b of full length `blake2_256_digest`.
"""
DIGEST_FIELDS = {f"{name}_digest": name for name in DIGEST_SIZES}
"""Fields of the form, and the digest that each holds."""
CLAIM_FIELDS = frozenset(
    {ACTION, "protocol_version", "name", "version", "filetype", *DIGEST_FIELDS}
)
"""The fields that are looked at; a form has each of them once at most."""
CLAIM_LIMIT = 1024
"""Characters of each of them."""
ATTESTATIONS = "attestations"
ATTESTATIONS_LIMIT = 512 << 10
"""Characters of `attestations`: checking its JSON takes some twenty times as much memory."""

_SUFFIXES = {
    "bdist_wheel": (".whl",),
    "sdist": (".tar.gz", ".zip"),
}
_NOTHING = frozenset({"", "UNKNOWN"})
_NUL = re.compile("\x00")
_NOT_ON_A_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Field:
    """A field's text, decoded and checked as it comes, and kept only if somebody wants it whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        is_claim = name in CLAIM_FIELDS
        self._forbidden = _NOT_ON_A_LINE if is_claim or name == "summary" else _NUL
        self._is_kept = is_claim or name == ATTESTATIONS
        self._limit = CLAIM_LIMIT if is_claim else ATTESTATIONS_LIMIT
        self._decoder = getincrementaldecoder("utf-8")()
        self._text = ""

    def write(self, data: bytes, *, final: bool = False) -> None:
        """
        Take the next bytes.

        Raises:
            Invalid: They are not UTF-8 (code `bad_encoding`), or hold or make what does not belong
                in such a field (code `invalid_field`).
        """
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise bad_encoding(f"The field {quoted(self.name)}") from error
        if self._forbidden.search(text):
            raise Invalid(
                f"The field {quoted(self.name)} holds a character that does not belong in "
                "text of its kind. Remove control characters and line breaks.",
                code="invalid_field",
            )
        if self._is_kept:
            self._text += text
            if len(self._text) > self._limit:
                raise Invalid(
                    f"The field {quoted(self.name)} is longer than {self._limit} characters.",
                    code="invalid_field",
                )

    def end(self) -> str:
        """
        Return the text, empty if nobody wants it.

        Raises:
            Invalid: It ends within a character (code `bad_encoding`).
        """
        self.write(b"", final=True)
        return self._text


def claim_of(field: str, text: str) -> str | None:
    """
    Return what a field of CLAIM_FIELDS claims, None if it is as good as missing.

    Args:
        field: Its name.
        text: As sent; empty, blank and UNKNOWN claim nothing.

    Raises:
        Invalid: The field cannot have this value (codes `invalid_action`, `invalid_field`).
    """
    if text.strip() in _NOTHING:
        return None
    if field == ACTION and text != "file_upload" and text not in RETIRED_ACTIONS:
        raise Invalid(
            f"':action' is {quoted(text)}, and only 'file_upload' is supported here. "
            "Upload with a current client, or leave ':action' out.",
            code="invalid_action",
        )
    if field == "protocol_version" and text != "1":
        raise Invalid(
            f"'protocol_version' is {quoted(text)}. Send 1, or leave it out.", code="invalid_field"
        )
    if field == "filetype" and text not in _SUFFIXES:
        raise Invalid(
            f"'filetype' is {quoted(text)}. Upload a wheel (bdist_wheel) or an sdist (sdist).",
            code="invalid_field",
        )
    return _digest(field, text) if field in DIGEST_FIELDS else text


def are_attestations(text: str) -> bool:
    """
    Return whether the value of `attestations` holds any.

    Raises:
        Invalid: It is not, or is nested beyond reason (code `invalid_field`).
    """
    try:
        return bool(decode(text))
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise Invalid(
            "The field 'attestations' is not JSON. Upload without attestations.",
            code="invalid_field",
        ) from error


def hashers_of(claims: Mapping[str, str]) -> dict[str, "Hasher"]:
    """Return what makes the digests that are claimed so far, by algorithm."""
    return {
        algorithm: _hasher(algorithm, claims[field])
        for field, algorithm in DIGEST_FIELDS.items()
        if field in claims
    }


def check_claims(claims: Mapping[str, str], spooling: Spooling) -> None:
    """
    Compare the file with its type and with every digest that the client sent.

    Args:
        claims: What `claim_of` returned for each field.
        spooling: The file, fed to `hashers_of` the claims that came before it.

    Raises:
        Invalid: The type contradicts the file's name (code `invalid_filename`), or a digest belongs
            to other bytes (code `digest_mismatch`).
        Unavailable: The file cannot be read again.
    """
    _check_filetype(claims.get("filetype"), spooling.distribution.filename)
    digests = spooling.digests
    for field, algorithm in DIGEST_FIELDS.items():
        claimed = claims.get(field)
        if claimed is None:
            continue
        actual = digests.get(algorithm) or _read_again(spooling, algorithm, claimed)
        if claimed != actual:
            raise Invalid(
                f"The {algorithm} digest sent does not match the uploaded file. "
                f"The file received has {actual}: upload it again.",
                code="digest_mismatch",
            )


def _read_again(spooling: Spooling, algorithm: str, claimed: str) -> str:
    """Return a digest that was claimed only behind the file, as distutils does."""
    with storage_faults("the upload"), spooling.path.open("rb") as file:
        return file_digest(file, partial(_hasher, algorithm, claimed)).hexdigest()


def _hasher(algorithm: str, claimed: str) -> "Hasher":
    if algorithm == SHA256:
        return sha256()
    if algorithm == "md5":
        return md5(usedforsecurity=False)
    return blake2b(digest_size=len(claimed) // 2)


def _digest(field: str, text: str) -> str:
    sizes = DIGEST_SIZES[DIGEST_FIELDS[field]]
    if len(text) not in sizes or not re.fullmatch("[0-9A-Fa-f]*", text):
        raise Invalid(
            f"{quoted(field)} must be {sizes[0]} hexadecimal digits, or be left out.",
            code="invalid_field",
        )
    return text.lower()


def _check_filetype(filetype: str | None, filename: str) -> None:
    if filetype is not None and not filename.endswith(_SUFFIXES[filetype]):
        raise Invalid(
            f"'filetype' is {filetype}, and {quoted(filename)} is not one by its name. "
            "Upload with a current client, or leave 'filetype' out.",
            code="invalid_filename",
        )
