"""
Users and passwords of an htpasswd file.

    # a comment
    ana:$2y$10$...
    ml-ci:$6$...:ignored, as in Apache and nginx

A hash is slow on purpose, and clients send the password with every request. So a right password is
cached for five minutes, under an HMAC of name, password and client network. The result holds only
while the user's hash is unchanged: a removed user is rejected at the next check of the file. A
wrong password is cached for seconds, because some clients repeat a wrong password at once.

Earlier versions let users change their password in the browser. The line of such a user is
outdated: it counts as missing until the operator writes another line.

Neither the response nor its time tells whether a user exists: for an unknown user, the hash of
another user is computed, and the result is ignored. Errors about a line give its number and never
its content.

libpass checks the hashes:

    $2y$ $2b$ $2a$    bcrypt, of the first 72 bytes
    $5$ $6$           SHA-256 and SHA-512 crypt
    $apr1$            Apache's MD5 in 1000 rounds: accepted with a warning
    {SHA}             SHA-1 without salt: accepted with a warning

A hash that could never match, that is too weak, or that would take too long to check is rejected
when the file is loaded, and not when the user logs in. This module is imported only if the settings
name an htpasswd file, as libpass takes a tenth of a second to load.
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
"""How long a right password is accepted without another hash."""
REJECTION_CACHE_SECONDS: Final = 5.0
"""How long a wrong password is rejected without another hash."""
RECENT_SUCCESS_SECONDS: Final = 86_400.0
"""How long the login rate limit does not apply to a password that was right."""
MAX_CACHED: Final = 4096
"""The most right passwords in memory, and the most wrong ones, of about 500 bytes each."""
PASSWORD_LIMIT_BYTES: Final = 1024
NAME_LIMIT_BYTES: Final = 255
"""The longest user name, as in Apache's htpasswd program."""

_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f]")
_REMEDY: Final = "Write NAME:HASH, as the command password prints it"
BCRYPT_LIMIT_BYTES: Final = 72
"""The bytes of a password that bcrypt uses. Further bytes are ignored."""


class Scheme(Struct, frozen=True):
    """A scheme of libpass that is accepted, with a warning and with a limit of its cost."""

    handler: Any
    warning: str = ""
    """Why each hash of the scheme is weak, as the end of a sentence about a hash."""
    unit: str = ""
    """The cost of a hash in words, with `{}` for the number. Empty without a cost."""
    max_cost: int = 0
    """The highest accepted cost."""


SCHEMES: Final = (
    # a hash of cost 16 takes about four seconds
    Scheme(bcrypt, unit="bcrypt of cost {}", max_cost=16),
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
    """The cost, or 0 for a scheme without a cost."""


def parse_hash(hashed: str) -> HashKind:
    """
    Return the scheme and the cost of a hash in an htpasswd file.

    Raises ValueError if the hash is not accepted. The message is the end of a sentence about the
    hash.
    """
    scheme = _scheme_of(hashed)
    if scheme is None or hashed.startswith("$2x$"):
        raise ValueError("is plain text, or of a scheme that is not taken")
    try:
        with catch_warnings(action="ignore", category=PasslibHashWarning):
            parsed = scheme.handler.from_string(hashed)
    except ValueError:
        # not chained: the error of the library may contain the hash
        parsed = None

    # libpass repairs some damage, and accepts a hash without a digest
    is_whole = parsed is not None and parsed.checksum is not None and parsed.to_string() == hashed
    if not is_whole:
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
    """Return whether `hashed`, which `parse_hash` accepts, is the hash of a password. May block."""
    scheme = _scheme_of(hashed)
    # programs in C end a password at a NUL, so it would be another password for them
    if scheme is None or b"\0" in password:
        return False
    # bcrypt ignores further bytes; newer versions of the library refuse a longer password
    if scheme.handler is bcrypt:
        password = password[:BCRYPT_LIMIT_BYTES]
    with suppress(ValueError):
        return bool(scheme.handler.verify(password, hashed))
    return False


def _scheme_of(hashed: str) -> Scheme | None:
    """Return the accepted scheme that a hash has by its looks, or None if it has another scheme."""
    for scheme in SCHEMES:
        if scheme.handler.identify(hashed):
            return scheme
    return None


@dataclass(frozen=True, slots=True)
class HtpasswdFile:
    """A parsed htpasswd file."""

    hashes: Mapping[str, str] = field(repr=False)
    """The hash of each user, by the name of the user."""
    typical_hash: str | None = field(repr=False)
    """
    The hash to compute for unknown users: a user's hash of the most frequent scheme and cost.

    None if the file has no users.
    """


class EndedLines(Protocol):
    """The digests of outdated lines, by `line_digest`."""

    def current(self) -> frozenset[str]:
        """Return the digests that the store has now, or had lately. May read the store."""
        ...

    def peek(self) -> frozenset[str]:
        """Return the digests that this process knows, without a read of the store."""
        ...


class HtpasswdVerifier:
    """
    Verifies passwords against an htpasswd file, with a cache.

    Threads may share it. The caller limits how many threads are in `verify` at once. The
    constructor raises Invalid (code `bad_setting`) if the file cannot be read, or has an invalid
    line. Methods that may reload the file may also read the store, and raise Unavailable if the
    store does not answer.
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
        """The hash that a password matched, and until when the password is not hashed again."""
        self._failures = VerificationCache[str](process_key, monotonic, MAX_CACHED)
        """The hash that a password did not match, or an empty text for an unknown user."""

    def cached_identity(self, credential: Credential) -> Identity | None:
        """
        Return the identity of a user whose password is cached as right, or None otherwise.

        Computes no hash. May reload the file. Raises Unauthenticated if name and password are
        cached as wrong, or are malformed.
        """
        present_hash = self.hash_of(credential.user)
        key = self._cache_key(credential)
        success = self._successes.get(key)
        if success is not None:
            right_hash, fresh_until = success
            # after a change of the user's line, the password may be wrong
            if right_hash == present_hash and self._monotonic() < fresh_until:
                return known_identity(f"htpasswd:{credential.user}")
        # after a change of the user's line, the password may be right
        if self._failures.get(key) == (present_hash or ""):
            raise self._rejection(credential)
        return None

    def verified_recently(self, credential: Credential) -> bool:
        """Return whether a password was right in the last day, by the user's present hash."""
        right_hash = self.verified_hash(credential)
        present_hash = _present_hash(credential.user, self.file.value, self._outdated.peek())
        return right_hash is not None and right_hash == present_hash

    def verified_hash(self, credential: Credential) -> str | None:
        """Return the hash that a password matched in the last day, or None if it matched none."""
        with suppress(Unauthenticated):
            success = self._successes.get(self._cache_key(credential))
            if success is not None:
                right_hash, _ = success
                return right_hash
        return None

    def hash_of(self, name: str) -> str | None:
        """
        Return the hash in the line of a user, or None if the line is missing or outdated.

        May reload the file.
        """
        return _present_hash(name, self.file.current(), self._outdated.current())

    def outdated_names(self) -> tuple[str, ...]:
        """Return the names of the users whose line is outdated, sorted. May reload the file."""
        hashes = self.file.current().hashes
        outdated = self._outdated.current()
        # nearly always there is no outdated line, and so no digest to compute
        if not outdated:
            return ()
        names = [name for name, hashed in hashes.items() if line_digest(name, hashed) in outdated]
        return tuple(sorted(names))

    def line_of(self, name: str) -> str:
        """
        Return the digest of the line of a user, or an empty text if the user has no line.

        May reload the file.
        """
        hashed = self.file.current().hashes.get(name)
        if hashed is None:
            return ""
        return line_digest(name, hashed)

    def has_user(self, name: str) -> bool:
        """Return whether the file has a user of this name. No client may learn the answer."""
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
        present_hash = _present_hash(credential.user, users, self._outdated.current())
        # for an unknown user, another hash is computed, so that the time does not tell
        compared_hash = present_hash or users.typical_hash
        is_match = compared_hash and self._check_hash(credential.secret.encode(), compared_hash)
        key = self._cache_key(credential)
        if present_hash is None or not is_match:
            self._failures.put(key, present_hash or "", REJECTION_CACHE_SECONDS)
            raise self._rejection(credential)
        success = (present_hash, self._monotonic() + CACHE_SECONDS)
        # kept for a day, as the rate limit and sessions ask which hash the password matched
        self._successes.put(key, success, RECENT_SUCCESS_SECONDS)
        return known_identity(f"htpasswd:{credential.user}")

    def _cache_key(self, credential: Credential) -> bytes:
        """Return the cache key of a name and a password, or raise Unauthenticated if malformed."""
        name = credential.user
        password = credential.secret
        try:
            is_name_short = len(name.encode()) <= NAME_LIMIT_BYTES
            is_valid = 0 < len(password.encode()) <= PASSWORD_LIMIT_BYTES and is_name_short
        # a lone surrogate, which no line of the file can have, as the file is read as UTF-8
        except UnicodeEncodeError:
            is_valid = False
        # in the key, a NUL separates the name from the password
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
    """Return the hash in the line of a user, or None if the line is missing or outdated."""
    hashed = users.hashes.get(name)
    if hashed is None or not outdated:
        return hashed
    if line_digest(name, hashed) in outdated:
        return None
    return hashed


def line_digest(name: str, hashed: str) -> str:
    """Return the hexadecimal SHA-256 of a user's name and hash, which tells lines apart."""
    return sha256(f"{name}\0{hashed}".encode()).hexdigest()


def parse_htpasswd(text: str) -> ParsedFile[HtpasswdFile]:
    """
    Return a parsed htpasswd file, with warnings.

    Raises Invalid (code `bad_setting`) if a line is wrong. The message has the number of the line.
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
    users = HtpasswdFile(MappingProxyType(hashes), _typical_hash(kinds))
    return ParsedFile(users, tuple(warnings))


def _parse_entry(entry: str, number: int) -> tuple[str, str, HashKind]:
    """Return the name, the hash and the kind of the hash in a line, or raise Invalid."""
    name, colon, hash_and_rest = entry.partition(":")
    if not colon:
        raise _bad_line(number, "has no colon", _REMEDY)
    is_name_valid = 0 < len(name.encode()) <= NAME_LIMIT_BYTES
    if not is_name_valid or _CONTROL_CHARACTER.search(name):
        problem = f"has no name of 1 to {NAME_LIMIT_BYTES} bytes without control characters"
        raise _bad_line(number, problem, _REMEDY)
    hashed = hash_and_rest.partition(":")[0].strip()
    try:
        return name, hashed, parse_hash(hashed)
    except ValueError as error:
        problem_of_hash = str(error) if hashed else "is missing"
    # outside of the handler: the error may have the hash among its causes
    problem = f"has a hash that {problem_of_hash}"
    remedy = "Make it again with the command password, or remove the line"
    raise _bad_line(number, problem, remedy)


def _bad_line(number: int, problem: str, remedy: str) -> Invalid:
    """Return the error for a line. `problem` is the end of a sentence about the line."""
    return Invalid(f"Line {number} {problem}. {remedy}.", code="bad_setting")


def _typical_hash(kinds: Mapping[str, HashKind]) -> str | None:
    """Return the first hash of the most frequent kind, or None if there is no hash."""
    counts = Counter(kinds.values())
    highest_count = max(counts.values(), default=0)
    for hashed, kind in kinds.items():
        if counts[kind] == highest_count:
            return hashed
    return None
