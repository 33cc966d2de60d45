"""
Names and passwords of an htpasswd file, checked at most once in five minutes each.

    # a comment
    ana:$2y$10$...
    ml-ci:$6$...:whatever Apache and nginx leave unread

A hash is slow on purpose, and a client sends its password with every request. So a verdict is
remembered under an HMAC of name and password, never under the password itself, and only as long as
the line that led to it stands in the file: who is removed or gets another password is out as soon
as the file is looked at again. A refusal is remembered for seconds: some clients repeat a wrong
password at once.

Nobody learns from the answer, or from how long it takes, whether a name exists: one that does not
is checked against a decoy. A refusal of a line names it, and never shows what stands in it.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from wheelyard.authentication.verifiers.password_hashes import (
    PasswordHash,
    parse_hash,
    verify_password,
)
from wheelyard.authentication.verifiers.reloading_file import ParsedFile, ReloadingFile
from wheelyard.authentication.verifiers.verifier import VerificationCache, invalid_password
from wheelyard.errors import Invalid, Unauthenticated
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS, Identity

CACHE_SECONDS: Final = 300.0
"""Seconds that a password is believed without hashing it again."""
REJECTION_CACHE_SECONDS: Final = 5.0
"""Seconds that a wrong one is refused without hashing it again."""
RECENT_SUCCESS_SECONDS: Final = 86_400.0
"""Seconds that a password which was right is still checked, though others keep failing."""
MAX_CACHED_PASSWORDS: Final = 4096
"""Right and wrong passwords in memory, so many of each, of about 500 bytes each."""
PASSWORD_LIMIT_BYTES: Final = 1024
"""Bytes of a password."""
NAME_LIMIT_BYTES: Final = 255
"""Bytes of a name, as in Apache's own program."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FORM: Final = "Write NAME:HASH, as 'htpasswd -B' does"

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class HtpasswdFile:
    """
    What stands in an htpasswd file: hashes by name.

    The decoy is what is checked for a name that is not there: a hash as most of them are, that no
    password leads to. There is none where there are no names at all.
    """

    hashes: Mapping[str, str] = field(repr=False)
    dummy_hash: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Right:
    """A password that was right."""

    identity: Identity
    line: str = field(repr=False)
    """The hash of the name at that time; with another one in the file, this says nothing."""
    until: float
    """When it is to be hashed again, on the monotonic clock."""


class HtpasswdVerifier:
    """
    The names and passwords of an htpasswd file; safe to share between threads.

    Whoever calls `check` bounds how many do so at the same time.

    Raises:
        Invalid: The file cannot be read, or a line of it is refused (code `bad_setting`).
    """

    def __init__(
        self,
        path: Path,
        process_key: bytes,
        monotonic: Callable[[], float],
        check_hash: Callable[[bytes, str], bool] = verify_password,
    ) -> None:
        self.file = ReloadingFile(path, parse_htpasswd, monotonic)
        self._check_hash = check_hash
        self._monotonic = monotonic
        self._right: VerificationCache[_Right] = VerificationCache(
            process_key, monotonic, MAX_CACHED_PASSWORDS
        )
        self._wrong: VerificationCache[tuple[str | None]] = VerificationCache(
            process_key, monotonic, MAX_CACHED_PASSWORDS
        )
        """By which line, or the lack of one."""

    def cached_identity(self, name: str, password: str, origin: str = "") -> Identity | None:
        """
        Return who this is if that needs no hashing, else None; may look at the file.

        Raises:
            Unauthenticated: The name or the password is wrong.
        """
        mark = cache_key(self._right, name, password, origin)
        line = self.file.current().hashes.get(name)
        right = self._right.get(mark)
        if right is not None and right.line == line and self._monotonic() < right.until:
            return right.identity
        if self._wrong.get(mark) == (line,):
            raise self._bad(name)
        return None

    def verified_recently(self, name: str, password: str, origin: str = "") -> bool:
        """Return whether the two were right within a day: who sends them guesses nothing."""
        with suppress(Unauthenticated):
            right = self._right.get(cache_key(self._right, name, password, origin))
            return right is not None and right.line == self.file.value.hashes.get(name)
        return False

    def has_user(self, name: str) -> bool:
        """Return whether a name is in the file; nobody outside is to be told."""
        return name in self.file.value.hashes

    def verify(self, name: str, password: str, origin: str = "") -> Identity:
        """
        Return who this is; may hash.

        Raises:
            Unauthenticated: The name or the password is wrong.
        """
        known = self.cached_identity(name, password, origin)
        if known is not None:
            return known
        mark, users = cache_key(self._right, name, password, origin), self.file.value
        line = users.hashes.get(name)
        hashed = line or users.dummy_hash
        matches = hashed is not None and self._check_hash(password.encode(), hashed)
        if line is None or not matches:
            self._wrong.put(mark, (line,), REJECTION_CACHE_SECONDS)
            raise self._bad(name)
        principal = f"htpasswd:{name}"
        identity = Identity(principal, frozenset({principal, ALL_AUTHENTICATED, ANONYMOUS}))
        self._right.put(
            mark, _Right(identity, line, self._monotonic() + CACHE_SECONDS), RECENT_SUCCESS_SECONDS
        )
        return identity

    def _bad(self, name: str) -> Unauthenticated:
        return invalid_password("htpasswd_password" if self.has_user(name) else "htpasswd_user")


def cache_key(
    verification_cache: VerificationCache[V], name: str, password: str, origin: str = ""
) -> bytes:
    """
    Return what the verdict on a name and a password is remembered under.

    Raises:
        Unauthenticated: One of them is too long, or is none at all.
    """
    try:
        secret = password.encode()
        is_right = (
            0 < len(secret) <= PASSWORD_LIMIT_BYTES and len(name.encode()) <= NAME_LIMIT_BYTES
        )
    except UnicodeEncodeError:
        is_right = False
    if not is_right or "\0" in name or "\0" in password:  # which keeps the two apart
        raise invalid_password("auth_malformed")
    parts = (origin,) if origin else ()
    return verification_cache.key("htpasswd", name, password, *parts)


def parse_htpasswd(text: str) -> ParsedFile[HtpasswdFile]:
    """
    Return the entries of an htpasswd file.

    Raises:
        Invalid: A line is no entry, its hash is not taken, or a name is there twice.
    """
    hashes, warnings, parts = dict[str, str](), list[str](), list[PasswordHash]()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, hashed, known = _entry(entry, number)
        if name in hashes:
            raise _bad_line(number, "has a name that is there already", "Remove one of the two")
        hashes[name] = hashed
        parts.append(known)
        if known.warning:
            remedy = "make it again with 'htpasswd -B'"
            warnings.append(f"the hash on line {number} {known.warning}; {remedy}")
    if not hashes:
        warnings.append("there is no name in it, so nobody has a password")
    return ParsedFile(HtpasswdFile(MappingProxyType(hashes), _decoy(parts)), tuple(warnings))


def _entry(entry: str, number: int) -> tuple[str, str, PasswordHash]:
    name, colon, rest = entry.partition(":")
    if not colon:
        raise _bad_line(number, "has no colon", _FORM)
    if not name or len(name.encode()) > NAME_LIMIT_BYTES or _CONTROL.search(name):
        what = f"has no name of 1 to {NAME_LIMIT_BYTES} bytes without control characters"
        raise _bad_line(number, what, _FORM)
    hashed = rest.partition(":")[0].strip()
    reason = "is missing"
    if hashed:
        try:
            return name, hashed, parse_hash(hashed)
        except ValueError as error:
            reason = str(error)
    raise _bad_line(
        number, f"has a hash that {reason}", "Make it again with 'htpasswd -B', or remove the line"
    )


def _bad_line(number: int, what: str, remedy: str) -> Invalid:
    return Invalid(f"Line {number} {what}. {remedy}.", code="bad_setting")


def _decoy(hashes: list[PasswordHash]) -> str | None:
    if not hashes:
        return None
    kinds = Counter((each.scheme, each.cost) for each in hashes)
    usual = kinds.most_common(1)[0][0]
    return next(each.dummy_hash for each in hashes if (each.scheme, each.cost) == usual)
