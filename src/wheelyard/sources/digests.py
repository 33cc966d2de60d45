"""What a source says about the bytes of a file: `ALGORITHM=HEX`, in a list or behind a link."""

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from wheelyard.sources.candidate import NO_HASHES

ALGORITHMS: Final[Mapping[str, int]] = MappingProxyType(
    {
        name: 2 * hashlib.new(name, usedforsecurity=False).digest_size
        for name in ("sha256", "sha384", "sha512", "blake2b", "sha1", "md5")
    }
)
"""What is compared, and how many digits it has."""

_HEX: Final = re.compile(r"[0-9a-f]+")


class DamagedDigest(ValueError):
    """Something is said of a file's bytes, and it is not possible."""


def checked(claimed: Mapping[str, object]) -> Mapping[str, str]:
    """
    Return those digests that can be compared, in lower case.

    Raises:
        DamagedDigest: One of them is none of its algorithm.
    """
    found = dict[str, str]()
    for name, value in claimed.items():
        algorithm = name.lower()
        if algorithm not in ALGORITHMS:
            continue
        digest = value.lower() if isinstance(value, str) else ""
        if algorithm == "blake2b" and len(digest) < ALGORITHMS[algorithm]:
            continue  # a shorter one of the same family: hashlib has no name for it
        if len(digest) != ALGORITHMS[algorithm] or not _HEX.fullmatch(digest):
            raise DamagedDigest(f"what it says is the {algorithm} of the file is none")
        found[algorithm] = digest
    return found or NO_HASHES


def parse_hash(text: str) -> Mapping[str, str]:
    """
    Return what `sha256=...` says, or the fragment of a URL; nothing if it is empty.

    Raises:
        DamagedDigest: It says something impossible.
    """
    return checked(dict(parse_qsl(text.removeprefix("#"), keep_blank_values=True)))
