"""
Verification of passwords against the hashes of htpasswd files.

    $2y$ $2b$ $2a$    bcrypt, of the first 72 bytes; $2x$ is a broken variant, and rejected
    $5$ $6$           SHA-256 and SHA-512 crypt, by Ulrich Drepper's specification
    $apr1$            Apache's MD5 in 1000 rounds: accepted with a warning
    {SHA}             SHA-1 without salt: accepted with a warning

A hash that could never match, that is too weak, or that would take too long to check is rejected
when the file is loaded, and not when the user logs in.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import md5, sha1, sha256, sha512
from hmac import compare_digest
from itertools import cycle, islice
from typing import Final, Literal, Protocol

import bcrypt

BCRYPT_LIMIT_BYTES: Final = 72
"""The bytes of a password that bcrypt uses; the rest is ignored."""
BCRYPT_SLOW_COST: Final = 13
"""The lowest cost of bcrypt with a warning: about half a second for each check."""
BCRYPT_MAX_COST: Final = 16
"""The highest accepted cost of bcrypt: about four seconds for each check."""
SHA_CRYPT_DEFAULT_ROUNDS: Final = 5000
SHA_CRYPT_MIN_ROUNDS: Final = 1000
SHA_CRYPT_SLOW_ROUNDS: Final = 100_000
"""The most rounds of SHA-crypt without a warning: about 50 ms, holding the GIL."""
SHA_CRYPT_MAX_ROUNDS: Final = 1_000_000
APR1_ROUNDS: Final = 1000

Scheme = Literal["bcrypt", "SHA-256 crypt", "SHA-512 crypt", "apr1", "SHA"]

_BCRYPT: Final = re.compile(
    # the unused bits in the last character of salt and digest are zero
    r"(?P<head>\$2[aby]\$(?P<cost>[0-9]{2})\$[./0-9A-Za-z]{21}[.Oeu])"
    r"(?P<digest>[./0-9A-Za-z]{30}[.CGKOSWaeimquy26])"
)
_SHA_CRYPT: Final = re.compile(
    r"(?P<head>\$(?P<kind>[56])\$(?:rounds=(?P<rounds>[1-9][0-9]{0,17})\$)?"
    r"(?!rounds=)(?P<salt>[!-#%-9;-~]{0,16})\$)(?P<digest>[./0-9A-Za-z]{43,86})"
)
_APR1: Final = re.compile(
    r"(?P<head>\$apr1\$(?P<salt>[!-#%-9;-~]{0,8})\$)(?P<digest>[./0-9A-Za-z]{22})"
)
_SHA: Final = re.compile(r"(?P<head>\{SHA\})(?P<digest>[+/0-9A-Za-z]{27}=)")

_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHA_CRYPT_LENGTH: Final = {"5": 43, "6": 86}
_APR1_ORDER: Final = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5), (11,))
_SHA256_ORDER: Final = (
    *((0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14), (15, 25, 5)),
    *((6, 16, 26), (27, 7, 17), (18, 28, 8), (9, 19, 29), (31, 30)),
)
_SHA512_ORDER: Final = (
    *(tuple((i + 21 * ((i + j) % 3)) for j in range(3)) for i in range(21)),
    (63,),
)


class _Digest(Protocol):
    def digest(self) -> bytes: ...


_Algorithm = Callable[[bytes], _Digest]

# weak digests, but parts of schemes that are still in use
_md5: Final[_Algorithm] = partial(md5, usedforsecurity=False)
_sha1: Final[_Algorithm] = partial(sha1, usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A hash of a supported scheme, in its parts; the head is the text before the digest."""

    scheme: Scheme
    cost: int
    salt: bytes = field(repr=False)
    head: str = field(repr=False)
    digest: str = field(repr=False)

    @property
    def warning(self) -> str | None:
        """Why the hash is weak or slow, as the rest of a sentence about it; None if it is good."""
        if self.scheme == "apr1":
            return "is MD5 (apr1), which is quickly guessed"
        if self.scheme == "SHA":
            return "is SHA-1 without salt, which is very quickly guessed"
        if self.scheme == "bcrypt" and self.cost >= BCRYPT_SLOW_COST:
            return f"is bcrypt of cost {self.cost}, so that a login takes long"
        if self.scheme.startswith("SHA-") and self.cost > SHA_CRYPT_SLOW_ROUNDS:
            return f"is {self.scheme} of {self.cost} rounds, so that a login slows down others"
        return None

    @property
    def dummy_hash(self) -> str:
        """A hash without a known password, of this scheme and cost, and as slow to check."""
        if self.scheme == "SHA":
            return f"{self.head}{'A' * 27}="
        return self.head + "." * len(self.digest)


def parse_hash(hashed: str) -> PasswordHash:
    """
    Return the parts of a hash of an htpasswd file.

    Raise ValueError, with the rest of a sentence about the hash, if it is not supported.
    """
    if found := _BCRYPT.fullmatch(hashed):
        cost = int(found["cost"])
        if not 4 <= cost <= BCRYPT_MAX_COST:  # noqa: PLR2004 - bcrypt's own lowest
            raise ValueError(f"has the cost {cost}, and 4 to {BCRYPT_MAX_COST} is taken")
        return PasswordHash("bcrypt", cost, b"", found["head"], found["digest"])
    if found := _APR1.fullmatch(hashed):
        return PasswordHash(
            "apr1", APR1_ROUNDS, found["salt"].encode(), found["head"], found["digest"]
        )
    if found := _SHA.fullmatch(hashed):
        return PasswordHash("SHA", 1, b"", found["head"], found["digest"])
    found = _SHA_CRYPT.fullmatch(hashed)
    if found and len(found["digest"]) == _SHA_CRYPT_LENGTH[found["kind"]]:
        return _sha_crypt(found)
    raise ValueError(_unsupported(hashed))


def verify_password(password: bytes, hashed: str) -> bool:
    """Return whether a password has this hash; False if it is unsupported. May take seconds."""
    with suppress(ValueError):  # not supported, or the library cannot read it
        parts = parse_hash(hashed)
        if b"\0" in password:  # C programs end a password here, so no such hash exists
            return False
        if parts.scheme == "bcrypt":
            return bcrypt.checkpw(password[:BCRYPT_LIMIT_BYTES], hashed.encode())
        return compare_digest(_compute(password, parts), parts.digest)
    return False


def _sha_crypt(found: re.Match[str]) -> PasswordHash:
    rounds = int(found["rounds"] or SHA_CRYPT_DEFAULT_ROUNDS)
    if not SHA_CRYPT_MIN_ROUNDS <= rounds <= SHA_CRYPT_MAX_ROUNDS:
        raise ValueError(
            f"has {rounds} rounds, and {SHA_CRYPT_MIN_ROUNDS} to {SHA_CRYPT_MAX_ROUNDS} are taken"
        )
    scheme: Scheme = "SHA-256 crypt" if found["kind"] == "5" else "SHA-512 crypt"
    return PasswordHash(scheme, rounds, found["salt"].encode(), found["head"], found["digest"])


def _unsupported(hashed: str) -> str:
    if hashed.startswith("$2x$"):
        return "is bcrypt with a mistake ($2x$), which is not taken"
    if hashed.startswith("$1$"):
        return "is MD5 ($1$), which is too weak to be taken"
    if hashed.startswith(("$2a$", "$2b$", "$2y$", "$5$", "$6$", "$apr1$", "{SHA}")):
        return "is damaged: it is too short, too long, or has characters that it cannot have"
    return "is plain text, DES or another scheme that is not taken"


def _compute(password: bytes, parts: PasswordHash) -> str:
    if parts.scheme == "SHA":
        return b64encode(_sha1(password).digest()).decode()
    if parts.scheme == "apr1":
        return _encode(_apr1(password, parts.salt), _APR1_ORDER)
    if parts.scheme == "SHA-256 crypt":
        return _encode(_sha_crypt_digest(sha256, password, parts.salt, parts.cost), _SHA256_ORDER)
    return _encode(_sha_crypt_digest(sha512, password, parts.salt, parts.cost), _SHA512_ORDER)


def _apr1(password: bytes, salt: bytes) -> bytes:
    inner = _md5(password + salt + password).digest()
    begin = password + b"$apr1$" + salt + _repeat(inner, len(password))
    begin += b"".join(b"\0" if bit else password[:1] for bit in _bits(len(password)))
    return _run_rounds(_md5, _md5(begin).digest(), password, salt, APR1_ROUNDS)


def _sha_crypt_digest(algorithm: _Algorithm, password: bytes, salt: bytes, rounds: int) -> bytes:
    inner = algorithm(password + salt + password).digest()
    begin = password + salt + _repeat(inner, len(password))
    begin += b"".join(inner if bit else password for bit in _bits(len(password)))
    start = algorithm(begin).digest()
    secret = _repeat(algorithm(password * len(password)).digest(), len(password))
    salt = _repeat(algorithm(salt * (16 + start[0])).digest(), len(salt))
    return _run_rounds(algorithm, start, secret, salt, rounds)


def _run_rounds(
    algorithm: _Algorithm, digest: bytes, password: bytes, salt: bytes, rounds: int
) -> bytes:
    parts = [_round_parts(number, password, salt) for number in range(2 * 3 * 7)]
    for before, after in islice(cycle(parts), rounds):
        digest = algorithm(before + digest + after).digest()
    return digest


def _round_parts(number: int, password: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Return the bytes before and after the digest in a round; they repeat every 42 rounds."""
    middle = (salt if number % 3 else b"") + (password if number % 7 else b"")
    return (password + middle, b"") if number % 2 else (b"", middle + password)


def _repeat(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _bits(number: int) -> Iterator[int]:
    """Yield the bits of `number`, lowest first, up to the highest set bit; none for 0."""
    while number:
        yield number & 1
        number >>= 1


def _encode(digest: bytes, order: tuple[tuple[int, ...], ...]) -> str:
    """
    Return a digest in crypt's variant of Base64.

    Each tuple of `order` has the positions of bytes that form one big-endian number, of which the
    lowest 6 bits are written first.
    """
    text = ""
    for positions in order:
        number = int.from_bytes(bytes(digest[each] for each in positions))
        for _ in range(len(positions) + 1):
            number, low = number >> 6, number & 63
            text += _ALPHABET[low]
    return text
