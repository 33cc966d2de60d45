"""
What all verifiers share: interface, cache, reloaded files, and the limit of failed sign-ins.

A client gets one fixed message for each type of credential, whatever is wrong with it. The reason
is a code for the operator's log. It travels in `CredentialRejected`, which never leaves the
authentication package.

A failure takes a try out of the bucket of its network and kind; tries are refilled evenly over a
minute. While a bucket is empty, passwords are rejected before they are hashed. A try is taken when
a check has failed, so those that run at the same moment may exceed the limit by one each: by no
more than the passwords that are checked at once.

Rejected access tokens and unknown API tokens have buckets of their own, as a whole office may have
one address. Sign-ins in browsers count although they succeed, as each writes to the store: in
buckets for the person and for the network, which are large enough for a team behind one address.

A file is accepted as a whole or not at all. `current` checks it at most every few seconds, and
reads it again if its times, inode or size have changed. If the new content is invalid, the last
valid content stays in use; the log says so once, and once more after the repair.
"""

import hmac
import logging
import os
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from stat import S_IROTH, S_ISVTX, S_IWOTH
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

from msgspec import MsgspecError, Struct, field
from msgspec.json import decode

from wheelyard.concurrency.caches import ExpiringCache, LruCache
from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import (
    IDENTITY_UNAVAILABLE,
    RETRY_AFTER_SECONDS,
    Invalid,
    Unauthenticated,
    Unavailable,
)
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS, Credential, Identity, Scope
from wheelyard.model.claim_matchers import Claims
from wheelyard.model.decoding import escaped

SIGNATURE_REMOVED: Final = "sig_removed_by_google"
"""The reason for a token whose signature Cloud Run has removed."""
MAX_CACHED_VERDICTS: Final = 10_000
"""The most results of verification in a cache."""

V = TypeVar("V")


class Verifier(Protocol):
    """
    Verifies credentials of one type.

    Threads may share it.
    """

    def cached_identity(self, credential: Credential) -> Identity | None:
        """
        Return the identity of a credential if it is cached, else None.

        Asks and hashes nothing. Raises Unauthenticated, as `verify` does, if the cache says that
        the credential is invalid, or if its shape does.
        """
        ...

    def verify(self, credential: Credential) -> Identity:
        """
        Return the identity of a credential, cached or verified now.

        May wait. Raises Unauthenticated, with a fixed message, if the credential is invalid, and
        Unavailable if it cannot be verified now.
        """
        ...


class CredentialRejected(Exception):
    """Raised for an invalid credential, with a code for the log that has no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class VerificationCache(ExpiringCache[bytes, V]):
    """
    Results of verification, each under an HMAC of the credential with a key of this process.

    So no credential can be read from the cache, and different types cannot share an entry.
    """

    def __init__(
        self,
        process_key: bytes,
        monotonic: Clock,
        capacity: int = MAX_CACHED_VERDICTS,
    ) -> None:
        super().__init__(monotonic, capacity)
        self._process_key = process_key

    def key(self, *parts: str) -> bytes:
        """Return the cache key of a credential: the HMAC of its parts (type, context, secret)."""
        text = "\0".join(parts).encode(errors="surrogatepass")
        return hmac.digest(self._process_key, text, "sha256")


def known_identity(principal: str, *scopes: Scope) -> Identity:
    """Return the identity of a user of a password, or of a static token with its scopes."""
    return Identity(principal, frozenset({principal, ALL_AUTHENTICATED, ANONYMOUS}), scopes)


def decode_segment(segment: str) -> Claims:
    """Return the JSON object in a segment of an unverified JWT, or raise CredentialRejected."""
    try:
        padded = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        return decode(padded, type=dict[str, object])
    except (ValueError, MsgspecError, RecursionError):
        raise CredentialRejected("auth_malformed") from None


def invalid_id_token() -> Unauthenticated:
    """Return the error for a rejected signed token: an ID token, or an assertion of IAP."""
    return Unauthenticated(
        "This signed token is not valid here. Get a new one, and have it made out to this index "
        "as its audience."
    )


def invalid_access_token() -> Unauthenticated:
    """Return the error for a rejected Google access token."""
    return Unauthenticated(
        "This Google access token is not valid. Get a new one: 'gcloud auth print-access-token'."
    )


def invalid_password(reason: str) -> Unauthenticated:
    """Return the error for a rejected password, whose cause has `reason`, a code for the log."""
    fault = Unauthenticated(
        "Wrong name or password. Send those that the operator of this index gave you."
    )
    fault.__cause__ = CredentialRejected(reason)
    return fault


def verification_unavailable(who: str) -> Unavailable:
    """Return the error for a credential that cannot be verified because `who` does not answer."""
    return Unavailable(
        f"{who} does not answer, so this credential cannot be verified.",
        code=IDENTITY_UNAVAILABLE,
        retry_after=RETRY_AFTER_SECONDS,
    )


MAX_BUCKETS: Final = 16_384
"""Buckets in memory, of about 300 bytes each."""
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 48
CUSTOMER_PREFIX_V6: Final = 64
"""The largest network that a provider gives to one customer."""

UNKNOWN_TOKEN: Final = "token"  # noqa: S105 - a kind of key
"""The kind of the keys for API tokens that do not exist."""
SIGN_IN: Final = "sign-in"
NETWORK_SIGN_IN: Final = "network-sign-in"
"""The kinds of the keys for sign-ins that succeed: of a person, and of a network."""
AT_PROVIDER: Final = "at-provider"
"""The kind of the keys for sign-ins at one provider that have not succeeded, of a network."""
_PER_MINUTE: Final = {UNKNOWN_TOKEN: 60, SIGN_IN: 30, NETWORK_SIGN_IN: 300}
"""The tries of keys of these kinds."""
_ROUNDING_ERROR: Final = 1e-9


class LoginRateLimit(Struct, frozen=True):
    """
    A token bucket for each key, with `per_minute` tries unless its kind has another number.

    Threads may share it.
    """

    per_minute: int
    monotonic: Clock
    _buckets: LruCache[str, tuple[float, float]] = field(
        default_factory=lambda: LruCache(MAX_BUCKETS)
    )
    """By key: the remaining tries, and when they were counted."""
    _lock: Lock = field(default_factory=Lock)

    def seconds_until(self, keys: Iterable[str]) -> float:
        """Return the seconds until each of these buckets has a try, 0 if all have one."""
        missing = ((1 - self._remaining(key), self._capacity(key)) for key in keys)
        waits = (60 * part / capacity for part, capacity in missing if part > _ROUNDING_ERROR)
        return max(waits, default=0.0)

    def count_attempt(self, key: str) -> float:
        """Take a try out of a bucket and return 0, or return the seconds to wait if it has none."""
        # in one lock, unlike `seconds_until` and `record_failure`: no two calls get the last try
        with self._lock:
            wait = self.seconds_until((key,))
            if not wait:
                self._add(key, -1)
        return wait

    def record_failure(self, keys: Iterable[str]) -> None:
        """Take a try out of each of these buckets that has one."""
        with self._lock:
            for key in keys:
                self._add(key, -1)

    def give_back(self, key: str) -> None:
        """Put back the try that `count_attempt` has taken."""
        with self._lock:
            self._add(key, 1)

    def _add(self, key: str, tries: int) -> None:
        self._buckets.put(key, (max(self._remaining(key) + tries, 0.0), self.monotonic()), 1)

    def _remaining(self, key: str) -> float:
        capacity, bucket = float(self._capacity(key)), self._buckets.get(key)
        if bucket is None:
            return capacity
        tries, counted_at = bucket
        # refilled evenly: a minute refills a whole bucket
        return min(capacity, tries + (self.monotonic() - counted_at) * capacity / 60)

    def _capacity(self, key: str) -> int:
        return _PER_MINUTE.get(key.partition(":")[0], self.per_minute)


def address_key(address: str, kind: str = "address") -> str:
    """Return the bucket key of a kind of attempt and a network, one for all that is no address."""
    return f"{kind}:{network_of(address)}"


@lru_cache(1024)  # parsing takes longer than the rest of a request that a cache answers
def client_network(address: str) -> str:
    """Return the address of a client, or the first of its IPv6 /64, or `-` for any other text."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), CUSTOMER_PREFIX_V6), strict=False).network_address)
    return str(parsed or "-")


def network_of(address: str) -> str:
    """Return the IPv4 /24 or IPv6 /48 of an address as text, or `-` for any other text."""
    parsed = _parsed(address)
    if parsed is None:
        return "-"
    prefix = IPV6_PREFIX if isinstance(parsed, IPv6Address) else IPV4_PREFIX
    return str(ip_network((int(parsed), prefix), strict=False))


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """Return a parsed IP address, an IPv4-mapped one as IPv4, or None for any other text."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return parsed if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped or parsed


CHECK_INTERVAL_SECONDS: Final = 1.0
"""Time between two checks of a file for changes; results are cached for one second more."""
FILE_LIMIT_BYTES: Final = 16 * 1024**2

logger = logging.getLogger("wheelyard")

T = TypeVar("T")


class ParsedFile(Struct, Generic[T], frozen=True):
    """The value that was parsed from a file, and warnings for the operator."""

    value: T
    warnings: tuple[str, ...] = ()


class FaultBeside(Exception):
    """Raised if a file beside the credential file is wrong, which the message names."""


class ReloadingFile(Generic[T]):
    """
    A credential file with its last valid content.

    Threads may share it. The constructor reads the file, and raises Invalid (code `bad_setting`) if
    that or `parse` fails.

    Args:
        parse: Returns value and warnings for the text, or raises Invalid with a sentence about it.
            It gets the texts of the files in `beside`, too, and raises FaultBeside if one of them
            is wrong.
        beside: Files that are read with it, and are no secrets.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[..., ParsedFile[T]],
        monotonic: Clock,
        beside: tuple[Path, ...] = (),
    ) -> None:
        self._paths = (path, *beside)
        self._shown = escaped(str(path))
        self._parse = parse
        self._monotonic = monotonic
        self._lock = Lock()
        self._checked_at = monotonic()
        self._last_error = ""
        self._fingerprint, self._content = self._read()

    @property
    def value(self) -> T:
        """The value of the last valid content, without a check of the file for changes."""
        return self._content.value

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the last valid content and its permissions, each with the file's name."""
        return self._content.warnings

    @property
    def path(self) -> Path:
        """The file."""
        return self._paths[0]

    @property
    def fault(self) -> str:
        """Why what the file says now is not in force, or an empty text, as of the last check."""
        return self._last_error

    def current(self) -> T:
        """
        Return the last valid value, after a check of the file for changes if one is due.

        While one thread checks, the others get the old value at once.
        """
        # `_content` is replaced as a whole, so a reader needs no lock
        is_due = self._monotonic() - self._checked_at >= CHECK_INTERVAL_SECONDS
        if is_due and self._lock.acquire(blocking=False):
            try:
                self._check()
            finally:
                self._lock.release()
        return self._content.value

    def _check(self) -> None:
        old_warnings = self.warnings
        try:
            fingerprint = [_fingerprint(path.stat()) for path in self._paths]
            if fingerprint != self._fingerprint:
                self._fingerprint, self._content = self._read()
        except Invalid as fault:
            self._log_error(fault.message)
            return
        except OSError as error:
            self._log_error(_unreadable(escaped(str(error.filename)), error).message)
            return
        finally:
            self._checked_at = self._monotonic()
        if self._last_error:  # at the level of the line that it takes back
            logger.warning("%s reads again. What it says now is in force.", self._shown)
            self._last_error = ""
        for warning in self.warnings:
            if warning not in old_warnings:
                logger.warning("%s", warning)

    def _log_error(self, message: str) -> None:
        if message != self._last_error:
            logger.error("%s Until then, what it said before stays in force.", message)
            self._last_error = message

    def _read(self) -> tuple[list[tuple[int, ...]], ParsedFile[T]]:
        # all files again, also those that have not changed: they are accepted together
        files = list(map(_read_file, self._paths))
        try:
            content = self._parse(*(text for _, text in files))
        except FaultBeside as fault:
            raise Invalid(str(fault), code="bad_setting") from None
        except Invalid as fault:
            raise Invalid(f"{self._shown}: {fault.message}", code="bad_setting") from None
        warnings = [
            f"{escaped(str(path))}: {warning}."
            for path in self._paths
            for warning in write_access_warnings(path)
        ]
        warnings += [f"{self._shown}: {warning}." for warning in content.warnings]
        if files[0][0].st_mode & S_IROTH:
            readable = "every user of this machine may read it; take that away with 'chmod o-r'"
            warnings.insert(0, f"{self._shown}: {readable}.")
        fingerprint = [_fingerprint(status) for status, _ in files]
        return fingerprint, ParsedFile(content.value, tuple(warnings))


def write_access_warnings(path: Path) -> Iterator[str]:
    """
    Yield a warning for each way in which every user of this machine can change a file.

    The folders of its path count, and those of the file to which symbolic links lead. Only the mode
    for others counts: owner and group are the operator's choice. In a folder with a sticky bit
    (`/tmp`, and where Kubernetes mounts a secret) only the owner of a file, the owner of the folder
    and root can replace it.
    """
    if _mode(path) & S_IWOTH:
        yield "every user of this machine may write to it; take that away with 'chmod o-w'"
    above = (*path.absolute().parents, *Path(os.path.realpath(path)).parents)
    for folder in dict.fromkeys(map(os.path.realpath, above)):
        if _mode(Path(folder)) & (S_IWOTH | S_ISVTX) == S_IWOTH:
            yield (
                "every user of this machine may replace it, because they may write to the folder "
                f"{escaped(folder)}; take that away with 'chmod o-w'"
            )


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _read_file(path: Path) -> tuple[os.stat_result, str]:
    """Return a file's text, and its status before it was read, so that a later change shows."""
    shown = escaped(str(path))
    try:
        with path.open("rb") as file:
            status, body = os.fstat(file.fileno()), file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise _unreadable(shown, error) from error
    if len(body) > FILE_LIMIT_BYTES:
        reason = f"It has more than {FILE_LIMIT_BYTES} bytes. Name another file."
        raise Invalid(f"{shown}: {reason}", code="bad_setting")
    try:
        return status, body.decode()
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
    # outside of the handler: the decoder's error contains the whole file
    reason = f"Line {number} is not UTF-8. Write the file in UTF-8."
    raise Invalid(f"{shown}: {reason}", code="bad_setting")


def _fingerprint(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


def _unreadable(shown: str, error: OSError) -> Invalid:
    return Invalid(
        f"{shown} cannot be read: {error.strerror}. Name a file that the server may read.",
        code="bad_setting",
    )
