"""
The hashes of passwords that an htpasswd file may have, checked by libpass.

    $2y$ $2b$ $2a$    bcrypt, of the first 72 bytes
    $5$ $6$           SHA-256 and SHA-512 crypt
    $apr1$            Apache's MD5 in 1000 rounds: accepted with a warning
    {SHA}             SHA-1 without salt: accepted with a warning

A hash that could never match, that is too weak, or that would take too long to check is rejected
when the file is loaded, and not when the user logs in. Only a configured htpasswd file has this
module imported: libpass takes a tenth of a second to load.
"""

from contextlib import suppress
from typing import Any, Final
from warnings import catch_warnings

from msgspec import Struct
from passlib.exc import PasslibHashWarning
from passlib.hash import apr_md5_crypt, bcrypt, ldap_sha1, sha256_crypt, sha512_crypt

BCRYPT_LIMIT_BYTES: Final = 72
"""The bytes of a password that bcrypt uses; the rest is ignored."""


class Scheme(Struct, frozen=True):
    """A scheme of libpass: what a warning says of it, and which costs are accepted."""

    handler: Any
    warning: str = ""
    """Why any hash of it is weak, as the rest of a sentence about it."""
    unit: str = ""
    """A cost in words, with `{}` for the number."""
    slow_cost: int = 0
    """The lowest cost with a warning."""
    max_cost: int = 0


SCHEMES: Final = (
    # cost 13 takes about half a second, 16 about four
    Scheme(bcrypt, unit="bcrypt of cost {}", slow_cost=13, max_cost=16),
    # 100 000 rounds take about 50 ms, and hold the GIL
    Scheme(sha256_crypt, "", "SHA-256 crypt of {} rounds", 100_001, 1_000_000),
    Scheme(sha512_crypt, "", "SHA-512 crypt of {} rounds", 100_001, 1_000_000),
    Scheme(apr_md5_crypt, "is MD5 (apr1), which is quickly guessed"),
    Scheme(ldap_sha1, "is SHA-1 without salt, which is very quickly guessed"),
)


class HashKind(Struct, frozen=True):
    """The scheme and the cost of a hash."""

    scheme: Scheme
    cost: int
    """0 for a scheme without one."""

    @property
    def warning(self) -> str:
        """Why the hash is weak or slow, as the rest of a sentence about it; empty if it is good."""
        scheme = self.scheme
        if scheme.unit and self.cost >= scheme.slow_cost:
            return f"is {scheme.unit.format(self.cost)}, so that a login takes long"
        return scheme.warning


def parse_hash(hashed: str) -> HashKind:
    """
    Return scheme and cost of a hash of an htpasswd file.

    Raise ValueError, with the rest of a sentence about the hash, if it is not supported.
    """
    scheme = _scheme_of(hashed)
    if scheme is None or hashed.startswith("$2x$"):
        raise ValueError(_unsupported(hashed))
    try:
        with catch_warnings(action="ignore", category=PasslibHashWarning):
            parsed = scheme.handler.from_string(hashed)
    except ValueError:  # the library's error may contain the hash, so that it is no cause
        parsed = None
    # libpass repairs some damage, and takes a hash without a digest
    if parsed is None or parsed.checksum is None or parsed.to_string() != hashed:
        raise ValueError(
            "is damaged: it is too short, too long, has characters that it cannot have, or a cost "
            "that is too low"
        )
    kind = HashKind(scheme, parsed.rounds if scheme.unit else 0)
    if kind.cost > scheme.max_cost:
        highest = scheme.unit.format(scheme.max_cost)
        raise ValueError(f"is {scheme.unit.format(kind.cost)}, and at most {highest} is taken")
    return kind


def verify_password(password: bytes, hashed: str) -> bool:
    """Return whether a password has a hash that `parse_hash` accepts. May take seconds."""
    scheme = _scheme_of(hashed)
    if scheme is None or b"\0" in password:  # C programs end a password there
        return False
    if scheme.handler is bcrypt:
        password = password[:BCRYPT_LIMIT_BYTES]
    with suppress(ValueError):
        return bool(scheme.handler.verify(password, hashed))
    return False


def _scheme_of(hashed: str) -> Scheme | None:
    return next((each for each in SCHEMES if each.handler.identify(hashed)), None)


def _unsupported(hashed: str) -> str:
    if hashed.startswith("$2x$"):
        return "is bcrypt with a mistake ($2x$), which is not taken"
    if hashed.startswith("$1$"):
        return "is MD5 ($1$), which is too weak to be taken"
    return "is plain text, DES or another scheme that is not taken"
