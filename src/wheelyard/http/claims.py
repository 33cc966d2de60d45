"""
What a client claims about the file that it uploads, and whether that is so.

The archive is the truth, so a claim may be missing; but every claim made must hold.
Follows the upload API of the packaging specifications (the "legacy" API).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b, file_digest, md5
from pathlib import Path

from msgspec import DecodeError
from msgspec.json import decode

from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution import Sha256

ACTION = ":action"
RETIRED_ACTIONS = frozenset({"submit", "verify", "doc_upload"})
"""What old clients did besides uploading."""
DIGEST_SIZES = {"sha256": (64,), "blake2_256": (64, 128), "md5": (32,)}
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

_SUFFIXES = {
    "bdist_wheel": (".whl",),
    "sdist": (".tar.gz", ".zip"),
}
_NOTHING = frozenset({"", "UNKNOWN"})


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """The package, all of whose bytes are in the sink."""

    filename: str
    size: int
    """Bytes, at least one."""
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Form:
    """A complete upload: a file, and what the client claims about it (None where it does not)."""

    file: SpooledFile
    name: str | None
    version: str | None
    digests: Mapping[str, str]
    """By algorithm (`sha256`, `blake2_256`, `md5`), in lower-case hexadecimal digits."""
    has_attestations: bool
    """Whether attestations (PEP 740) came with the file."""


@dataclass(frozen=True, slots=True)
class RetiredAction:
    """A complete form that asks for something that no index does any more."""

    action: str


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
    if field in DIGEST_FIELDS:
        _check_digest(field, text)
    return text


def form_of(claims: Mapping[str, str], file: SpooledFile, *, has_attestations: bool) -> Form:
    """
    Return the form that made these claims about `file`.

    Args:
        claims: What `claim_of` returned for each field.
        file: The package.
        has_attestations: Whether attestations came with it.

    Raises:
        Invalid: `filetype` contradicts the file's name (code `invalid_filename`).
    """
    _check_filetype(claims.get("filetype"), file.filename)
    digests = {
        algorithm: claims[field].lower()
        for field, algorithm in DIGEST_FIELDS.items()
        if field in claims
    }
    return Form(file, claims.get("name"), claims.get("version"), digests, has_attestations)


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


def check_digests(form: Form, path: Path) -> None:
    """
    Compare every digest that the client sent, reading the file again for MD5 and BLAKE2.

    Args:
        form: Its SHA-256 was computed while the file came in.
        path: Where the sink put the file, flushed.

    Raises:
        Invalid: A digest belongs to other bytes (code `digest_mismatch`).
        OSError: The file cannot be read.
    """
    for algorithm, claimed in form.digests.items():
        size = len(claimed) // 2
        actual = form.file.sha256 if algorithm == "sha256" else _digest_of(path, algorithm, size)
        if claimed != actual:
            raise Invalid(
                f"The {algorithm} digest sent does not match the uploaded file. "
                f"The file received has {actual}: upload it again.",
                code="digest_mismatch",
            )


def _digest_of(path: Path, algorithm: str, size: int) -> str:
    with path.open("rb") as file:
        if algorithm == "md5":
            return file_digest(file, partial(md5, usedforsecurity=False)).hexdigest()
        return file_digest(file, partial(blake2b, digest_size=size)).hexdigest()


def _check_digest(field: str, text: str) -> None:
    sizes = DIGEST_SIZES[DIGEST_FIELDS[field]]
    if len(text) not in sizes or not re.fullmatch("[0-9A-Fa-f]*", text):
        raise Invalid(
            f"{quoted(field)} must be {sizes[0]} hexadecimal digits, or be left out.",
            code="invalid_field",
        )


def _check_filetype(filetype: str | None, filename: str) -> None:
    if filetype is not None and not filename.endswith(_SUFFIXES[filetype]):
        raise Invalid(
            f"'filetype' is {filetype}, and {quoted(filename)} is not one by its name. "
            "Upload with a current client, or leave 'filetype' out.",
            code="invalid_filename",
        )
