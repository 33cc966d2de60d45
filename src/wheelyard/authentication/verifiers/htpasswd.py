"""
Users and passwords of an htpasswd file.

    # a comment
    ana:$2y$10$...
    ml-ci:$6$...:ignored, as in Apache and nginx

A hash is slow on purpose, and clients send the password with every request. So a right password is
cached for five minutes, under an HMAC of name, password and client network. The result holds only
while the user's hash is unchanged: a removed user is rejected at the next check of the file. A
wrong password is cached for seconds, because some clients repeat one at once.

A line that is outdated, as earlier versions let its user change the password in the browser, is
treated as if it were not there, until the operator writes another one.

Neither the response nor its time tells whether a user exists: for an unknown user the hash of some
other user is computed, and the result ignored. Errors about a line give its number and never its
content.

libpass checks the hashes:

    $2y$ $2b$ $2a$    bcrypt, of the first 72 bytes
    $5$ $6$           SHA-256 and SHA-512 crypt
    $apr1$            Apache's MD5 in 1000 rounds: accepted with a warning
    {SHA}             SHA-1 without salt: accepted with a warning

A hash that could never match, that is too weak, or that would take too long to check is rejected
when the file is loaded, and not when the user logs in. Only a configured htpasswd file has this
module imported: libpass takes a tenth of a second to load.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol
from warnings import catch_warnings

from msgspec import Struct
from passlib.exc import PasslibHashWarning
from passlib.hash import apr_md5_crypt, bcrypt, ldap_sha1, sha256_crypt, sha512_crypt

from wheelyard.authentication.verifiers.reloading_file import ParsedFile, ReloadingFile
from wheelyard.authentication.verifiers.verifier import (
    VerificationCache,
    invalid_password,
    known_identity,
)
from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import Invalid, Unauthenticated
from wheelyard.model.access import Credential, Identity

CACHE_SECONDS: Final = 300.0
"""How long a right password is not hashed again."""
REJECTION_CACHE_SECONDS: Final = 5.0
"""How long a wrong password is rejected without hashing it again."""
RECENT_SUCCESS_SECONDS: Final = 86_400.0
"""How long the login rate limit does not apply to a password that was right."""
MAX_CACHED: Final = 4096
"""Right passwords, and as many wrong ones. About 500 bytes each."""
PASSWORD_LIMIT_BYTES: Final = 1024
NAME_LIMIT_BYTES: Final = 255
"""The longest user name, as in Apache's htpasswd program."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_REMEDY: Final = "Write NAME:HASH, as the command password prints it"
BCRYPT_LIMIT_BYTES: Final = 72
"""The bytes of a password that bcrypt uses. The rest is ignored."""


class Scheme(Struct, frozen=True):
    """A scheme of libpass: what a warning says of it, and which costs are accepted."""

    handler: Any
    warning: str = ""
    """Why any hash of it is weak, as the rest of a sentence about it."""
    unit: str = ""
    """A cost in words, with `{}` for the number."""
    max_cost: int = 0


SCHEMES: Final = (
    Scheme(bcrypt, unit="bcrypt of cost {}", max_cost=16),  # which takes about four seconds
    # 100 000 rounds take about 50 ms, and hold the GIL
    Scheme(sha256_crypt, "", "SHA-256 crypt of {} rounds", 1_000_000),
    Scheme(sha512_crypt, "", "SHA-512 crypt of {} rounds", 1_000_000),
    Scheme(apr_md5_crypt, "is MD5 (apr1), which is quickly guessed"),
    Scheme(ldap_sha1, "is SHA-1 without salt, which is very quickly guessed"),
)


class HashKind(Struct, frozen=True):
    """The scheme and the cost of a hash."""

    scheme: Scheme
    cost: int
    """0 for a scheme without one."""


def parse_hash(hashed: str) -> HashKind:
    """
    Return scheme and cost of a hash of an htpasswd file.

    Raises ValueError, with the rest of a sentence about the hash, if it is not accepted.
    """
    scheme = _scheme_of(hashed)
    if scheme is None or hashed.startswith("$2x$"):
        raise ValueError("is plain text, or of a scheme that is not taken")
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
    cost = parsed.rounds if scheme.unit else 0
    kind = HashKind(scheme, cost)
    if kind.cost > scheme.max_cost:
        highest = scheme.unit.format(scheme.max_cost)
        raise ValueError(f"is {scheme.unit.format(kind.cost)}, and at most {highest} is taken")
    return kind


def verify_password(password: bytes, hashed: str) -> bool:
    """Return whether a password has a hash that `parse_hash` accepts. May take seconds."""
    scheme = _scheme_of(hashed)
    # C programs end a password at a NUL, so one with more behind it is another one elsewhere
    if scheme is None or b"\0" in password:
        return False
    # as bcrypt itself does; newer versions of the library refuse a longer password
    if scheme.handler is bcrypt:
        password = password[:BCRYPT_LIMIT_BYTES]
    with suppress(ValueError):
        return bool(scheme.handler.verify(password, hashed))
    return False


def _scheme_of(hashed: str) -> Scheme | None:
    """Return the scheme that a hash looks like, or None if it is of no accepted one."""
    for scheme in SCHEMES:
        if scheme.handler.identify(hashed):
            return scheme
    return None


@dataclass(frozen=True, slots=True)
class HtpasswdFile:
    """A parsed htpasswd file: the hash of each user, and the one to compute for unknown users."""

    hashes: Mapping[str, str] = field(repr=False)
    typical_hash: str | None = field(repr=False)
    """Some user's hash, of the most frequent scheme and cost. None without users."""


class EndedLines(Protocol):
    """The digests of lines that are outdated."""

    def current(self) -> frozenset[str]:
        """Return them as they are in the store, or were lately. May read the store."""
        ...

    def peek(self) -> frozenset[str]:
        """Return them as this process knows them."""
        ...


class HtpasswdVerifier:
    """
    Verifies passwords against an htpasswd file, with a cache.

    Threads may share it. The caller limits how many threads are in `verify` at once. The
    constructor raises Invalid (code `bad_setting`) if the file cannot be read, or has an invalid
    line. Methods that may reload the file may also read the store, and raise Unavailable if that
    does not answer.
    """

    def __init__(
        self,
        path: Path,
        process_key: bytes,
        monotonic: Clock,
        outdated: EndedLines,
        check_hash: Callable[[bytes, str], bool] = verify_password,
    ) -> None:
        self.file = ReloadingFile(path, parse_htpasswd, monotonic)
        self._outdated = outdated
        self._check_hash = check_hash
        self._monotonic = monotonic
        self._successes = VerificationCache[tuple[str, float]](process_key, monotonic, MAX_CACHED)
        """The user's hash that a password matched, and until when it need not be hashed again."""
        self._failures = VerificationCache[str](process_key, monotonic, MAX_CACHED)
        """The user's hash that a password did not match, empty for an unknown user."""

    def cached_identity(self, credential: Credential) -> Identity | None:
        """
        Return the identity of a user whose password is cached as right, or None.

        Never hashes. May reload the file. Raises Unauthenticated if name and password are cached as
        wrong, or malformed.
        """
        hashed = self.hash_of(credential.user)
        key = self._key(credential)
        success = self._successes.get(key)
        if success is not None:
            right_hash, fresh_until = success
            # by the present hash: once the user has another line, or none, this counts no more
            if right_hash == hashed and self._monotonic() < fresh_until:
                return known_identity(f"htpasswd:{credential.user}")
        # by the same hash: after a change of the file the password may be right
        if self._failures.get(key) == (hashed or ""):
            raise self._rejection(credential)
        return None

    def verified_recently(self, credential: Credential) -> bool:
        """Return whether this password was right in the last day, by the user's present hash."""
        hashed = self.verified_hash(credential)
        present = _present_hash(credential.user, self.file.value, self._outdated.peek())
        return hashed is not None and hashed == present

    def verified_hash(self, credential: Credential) -> str | None:
        """Return the hash by which this password was right in the last day, or None if by none."""
        with suppress(Unauthenticated):
            success = self._successes.get(self._key(credential))
            if success is not None:
                right_hash, _ = success
                return right_hash
        return None

    def hash_of(self, name: str) -> str | None:
        """
        Return the hash in the line of a user, or None without one, or if that is outdated.

        May reload the file.
        """
        return _present_hash(name, self.file.current(), self._outdated.current())

    def outdated_names(self) -> tuple[str, ...]:
        """Return the users whose line is outdated, sorted. May reload the file."""
        hashes = self.file.current().hashes
        outdated = self._outdated.current()
        # nearly always: then no line has to be hashed
        if not outdated:
            return ()
        names = [name for name, hashed in hashes.items() if line_digest(name, hashed) in outdated]
        return tuple(sorted(names))

    def line_of(self, name: str) -> str:
        """
        Return the digest of the line of a user, or an empty text without one.

        May reload the file.
        """
        hashed = self.file.current().hashes.get(name)
        if hashed is None:
            return ""
        return line_digest(name, hashed)

    def has_user(self, name: str) -> bool:
        """Return whether the file has a user of this name, which no client may learn."""
        return name in self.file.value.hashes

    def verify(self, credential: Credential) -> Identity:
        """
        Return the identity of a user, from the cache or by hashing.

        Raises Unauthenticated if name or password is wrong, or the line of the user is outdated.
        """
        cached = self.cached_identity(credential)
        if cached is not None:
            return cached
        users = self.file.value
        hashed = _present_hash(credential.user, users, self._outdated.current())
        # what a wrong password of another user would cost, too, so that no time tells
        computed = hashed or users.typical_hash
        is_right = computed and self._check_hash(credential.secret.encode(), computed)
        if hashed is None or not is_right:
            self._failures.put(self._key(credential), hashed or "", REJECTION_CACHE_SECONDS)
            raise self._rejection(credential)
        success = (hashed, self._monotonic() + CACHE_SECONDS)
        # for a day, as the limit of failures goes by it, and sessions by the hash in it
        self._successes.put(self._key(credential), success, RECENT_SUCCESS_SECONDS)
        return known_identity(f"htpasswd:{credential.user}")

    def _key(self, credential: Credential) -> bytes:
        """Return the cache key of a password, or raise Unauthenticated if it cannot be right."""
        name = credential.user
        password = credential.secret
        try:
            size = len(password.encode())
            is_valid = 0 < size <= PASSWORD_LIMIT_BYTES and len(name.encode()) <= NAME_LIMIT_BYTES
        # a lone surrogate, which no line of the file can have, as that is read as UTF-8
        except UnicodeEncodeError:
            is_valid = False
        # NUL separates the two in the key
        if not is_valid or "\0" in name or "\0" in password:
            raise invalid_password("auth_malformed")
        return self._successes.key("htpasswd", name, password, credential.client_network)

    def _rejection(self, credential: Credential) -> Unauthenticated:
        """Return the error for a wrong name or password, whose reason is for the log alone."""
        if not self.has_user(credential.user):
            return invalid_password("htpasswd_user")
        if _present_hash(credential.user, self.file.value, self._outdated.peek()):
            return invalid_password("htpasswd_password")
        return invalid_password("htpasswd_outdated")


def _present_hash(name: str, users: HtpasswdFile, outdated: frozenset[str]) -> str | None:
    """Return the hash in the line of a user, or None without one, or if the line is outdated."""
    hashed = users.hashes.get(name)
    if hashed is None or not outdated:
        return hashed
    if line_digest(name, hashed) in outdated:
        return None
    return hashed


def line_digest(name: str, hashed: str) -> str:
    """Return the hexadecimal SHA-256 of a user's line, which no other line has."""
    return sha256(f"{name}\0{hashed}".encode()).hexdigest()


def parse_htpasswd(text: str) -> ParsedFile[HtpasswdFile]:
    """
    Return a parsed htpasswd file, with warnings.

    Raises Invalid (code `bad_setting`), with the number of the line, if one is wrong.
    """
    hashes = dict[str, str]()
    warnings = list[str]()
    kinds = dict[str, HashKind]()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, hashed, kind = _parse_entry(entry, number)
        if name in hashes:
            raise _bad_line(number, "has a name that is there already", "Remove one of the two")
        hashes[name] = hashed
        kinds[hashed] = kind
        if kind.scheme.warning:
            remedy = "make it again with the command password"
            warnings.append(f"the hash on line {number} {kind.scheme.warning}; {remedy}")
    if not hashes:
        warnings.append("there is no name in it, so nobody has a password")
    users = HtpasswdFile(MappingProxyType(hashes), _typical(kinds))
    return ParsedFile(users, tuple(warnings))


def _parse_entry(entry: str, number: int) -> tuple[str, str, HashKind]:
    """Return the name, the hash and its kind of a line, or raise Invalid if it is wrong."""
    name, colon, rest = entry.partition(":")
    if not colon:
        raise _bad_line(number, "has no colon", _REMEDY)
    if not name or len(name.encode()) > NAME_LIMIT_BYTES or _CONTROL.search(name):
        what = f"has no name of 1 to {NAME_LIMIT_BYTES} bytes without control characters"
        raise _bad_line(number, what, _REMEDY)
    hashed = rest.partition(":")[0].strip()
    try:
        return name, hashed, parse_hash(hashed)
    except ValueError as error:
        problem = str(error) if hashed else "is missing"
    # outside of the handler: the error may have the hash among its causes
    reason = f"has a hash that {problem}"
    remedy = "Make it again with the command password, or remove the line"
    raise _bad_line(number, reason, remedy)


def _bad_line(number: int, what: str, remedy: str) -> Invalid:
    return Invalid(f"Line {number} {what}. {remedy}.", code="bad_setting")


def _typical(kinds: Mapping[str, HashKind]) -> str | None:
    """Return some hash of the most frequent kind, or None without any."""
    counts = Counter(kinds.values())
    return max(kinds, key=lambda hashed: counts[kinds[hashed]], default=None)
