"""
Names and passwords of an htpasswd file, checked at most once in five minutes each.

A hash is slow on purpose, and a client sends its password with every request. So a verdict is
remembered under an HMAC of name and password, never under the password itself, and only as long as
the line that led to it stands in the file: who is removed or gets another password is out as soon
as the file is looked at again. A refusal is remembered for seconds: some clients repeat a wrong
password at once.

Nobody learns from the answer, or from how long it takes, whether a name exists: one that does not
is checked against a decoy.

Whoever was right within a day, from the same address, guesses nothing. They have a turn of their
own at hashing, which no number of strangers can take or queue for.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Semaphore
from typing import Final, TypeVar

from wheelyard.errors import Unauthenticated
from wheelyard.model.identity import AUTHENTICATED, EVERYBODY, Identity
from wheelyard.trust.crypts import verify
from wheelyard.trust.htpasswd import NAME_LIMIT, parse_htpasswd
from wheelyard.trust.refusals import Refused, too_many_logins
from wheelyard.trust.verdicts import Verdicts
from wheelyard.trust.watched import WatchedFile

ACCEPTED_FOR: Final = 300.0
"""Seconds that a password is believed without hashing it again."""
REFUSED_FOR: Final = 5.0
"""Seconds that a wrong one is refused without hashing it again."""
HELD_FOR: Final = 86_400.0
"""Seconds that a password which was right is still checked, though others keep failing."""
REMEMBERED: Final = 4096
"""Verdicts of each kind in memory, of about 500 bytes each."""
PASSWORD_LIMIT: Final = 1024
"""Bytes of a password."""
HASHING_LIMIT: Final = 4
"""Passwords that are hashed at a time, on however many processors; one turn is for held ones."""
QUEUE_LIMIT: Final = 64
"""Passwords that wait for that, of strangers and of others each; one more is refused."""
PATIENCE: Final = 10.0
"""Seconds that a password waits for that."""

V = TypeVar("V")


class Passwords:
    """
    The names and passwords of an htpasswd file; safe to share between threads.

    Args:
        path: The file.
        process_key: 32 random bytes that live as long as the process.
        monotonic: Seconds that never jump.
        processors: Those of this machine that the process may use.
        check_hash: Whether a password belongs to a hash.

    Raises:
        Invalid: The file cannot be read, or a line of it is refused (code `bad_setting`).
    """

    def __init__(
        self,
        path: Path,
        process_key: bytes,
        monotonic: Callable[[], float],
        processors: int,
        check_hash: Callable[[bytes, str], bool] = verify,
    ) -> None:
        self._file = WatchedFile(path, parse_htpasswd, monotonic)
        self._check_hash = check_hash
        self._accepted: Verdicts[tuple[Identity, str]] = Verdicts(
            process_key, monotonic, REMEMBERED
        )
        """Who it is, and by which line."""
        self._held: Verdicts[str] = Verdicts(process_key, monotonic, REMEMBERED)
        """By which line; where that is another one by now, nothing is held."""
        self._refused: Verdicts[tuple[str | None]] = Verdicts(process_key, monotonic, REMEMBERED)
        """By which line, or the lack of one."""
        self._turns = Turns(max(1, min(processors, HASHING_LIMIT) - 1))
        self._held_turns = Turns(1)
        self._flights: dict[bytes, Future[Identity | None]] = {}
        self._joining = Semaphore(QUEUE_LIMIT)
        self._lock = Lock()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know of the file, in sentences that name it."""
        return self._file.warnings

    @property
    def is_due(self) -> bool:
        """Whether the file is to be looked at before anybody is let in by it."""
        return self._file.is_due

    @property
    def revision(self) -> int:
        """A number that changes when what the file says is read anew."""
        return self._file.revision

    def fresh(self, name: str, password: str, origin: str = "") -> Identity | None:
        """
        Return who this is if that needs neither hashing nor the disk, else None.

        Raises:
            Unauthenticated: The name or the password is wrong.
        """
        mark = mark_of(self._accepted, name, password, origin)
        return None if self._file.is_due else self._remembered(mark, name)

    def known(self, name: str, password: str, origin: str = "") -> Identity | None:
        """
        Return the same, where the file may be looked at; so it is called in a thread.

        Raises:
            Unauthenticated: The name or the password is wrong.
        """
        mark = mark_of(self._accepted, name, password, origin)
        self._file.current()
        return self._remembered(mark, name)

    def has_held(self, name: str, password: str, origin: str = "") -> bool:
        """Return whether the two were right within a day: who sends them guesses nothing."""
        with suppress(Unauthenticated):
            return self._is_held(mark_of(self._held, name, password, origin), name)
        return False

    def knows(self, name: str) -> bool:
        """Return whether a name is in the file; nobody outside is to be told."""
        return name in self._file.value.hashes

    def check(self, name: str, password: str, origin: str = "") -> Identity:
        """
        Return who this is; may hash, and wait for others who do, so it is called in a thread.

        Raises:
            Unauthenticated: The name or the password is wrong.
            Unavailable: Too many passwords wait to be hashed (code `overloaded`).
        """
        mark = mark_of(self._accepted, name, password, origin)
        self._file.current()
        identity = self._remembered(mark, name)
        if identity is None:
            identity = self._flown(mark, name, password)
        if identity is None:
            raise bad_password(self._reason(name))
        return identity

    def _is_held(self, mark: bytes, name: str) -> bool:
        line = self._held.get(mark)
        return line is not None and line == self._file.value.hashes.get(name)

    def _reason(self, name: str) -> str:
        return "htpasswd_password" if self.knows(name) else "htpasswd_user"

    def _remembered(self, mark: bytes, name: str) -> Identity | None:
        line = self._file.value.hashes.get(name)
        accepted = self._accepted.get(mark)
        if accepted is not None and accepted[1] == line:
            return accepted[0]
        if self._refused.get(mark) == (line,):
            raise bad_password(self._reason(name))
        return None

    def _flown(self, mark: bytes, name: str, password: str) -> Identity | None:
        """Hash once for all who ask about the same name and password at the same time."""
        with self._lock:
            flight = self._flights.get(mark)
            leads = flight is None
            if flight is None:
                flight = self._flights[mark] = Future()
        if not leads:
            return self._joined(flight, mark, name)
        try:
            # who led before may have landed between our look into the cache and this
            identity = self._remembered(mark, name) or self._hashed(mark, name, password)
        except BaseException as fault:
            flight.set_exception(fault)
            raise
        else:
            flight.set_result(identity)
            return identity
        finally:
            with self._lock:
                del self._flights[mark]

    def _joined(self, flight: Future[Identity | None], mark: bytes, name: str) -> Identity | None:
        """Wait for a hash that is under way, unless too many do; each keeps a thread."""
        if self._is_held(mark, name):
            return flight.result()
        if not self._joining.acquire(blocking=False):
            raise too_many_logins()
        try:
            return flight.result()
        finally:
            self._joining.release()

    def _hashed(self, mark: bytes, name: str, password: str) -> Identity | None:
        with self._turn(mark, name):
            users = self._file.value  # not before: the file may change while one waits
            line = users.hashes.get(name)
            hashed = line or users.decoy
            matches = hashed is not None and self._check_hash(password.encode(), hashed)
        if line is None or not matches:
            self._refused.put(mark, (line,), REFUSED_FOR)
            return None
        principal = f"htpasswd:{name}"
        identity = Identity(principal, frozenset({principal, AUTHENTICATED, EVERYBODY}))
        self._accepted.put(mark, (identity, line), ACCEPTED_FOR)
        self._held.put(mark, line, HELD_FOR)
        return identity

    @contextmanager
    def _turn(self, mark: bytes, name: str) -> Iterator[None]:
        """Hold a turn at hashing; whoever is no stranger has one that is free, or waits apart."""
        if not self._is_held(mark, name):
            with self._turns.one():
                yield
        elif self._turns.take():
            try:
                yield
            finally:
                self._turns.give_back()
        else:
            with self._held_turns.one():
                yield


class Turns:
    """
    So many at a time, QUEUE_LIMIT more who wait, and no others.

    Args:
        count: How many.
        patience: Seconds that one waits.
    """

    def __init__(self, count: int, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._free = Semaphore(count)
        self._room = Semaphore(count + QUEUE_LIMIT)

    @contextmanager
    def one(self) -> Iterator[None]:
        """
        Hold a turn.

        Raises:
            Unavailable: Too many wait already, or none became free (code `overloaded`).
        """
        if not self._room.acquire(blocking=False):
            raise too_many_logins()
        try:
            if not self._free.acquire(timeout=self._patience):
                raise too_many_logins()
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._room.release()

    def take(self) -> bool:
        """Take a turn if one is free, and return whether that was so."""
        return self._free.acquire(blocking=False)

    def give_back(self) -> None:
        """Free a turn that was taken."""
        self._free.release()


def mark_of(verdicts: Verdicts[V], name: str, password: str, origin: str = "") -> bytes:
    """
    Return what the verdict on a name and a password is remembered under.

    Raises:
        Unauthenticated: One of them is too long, or is none at all.
    """
    try:
        secret = password.encode()
        is_right = 0 < len(secret) <= PASSWORD_LIMIT and len(name.encode()) <= NAME_LIMIT
    except UnicodeEncodeError:
        is_right = False
    if not is_right or "\0" in name or "\0" in password:  # which keeps the two apart
        raise bad_password("auth_malformed")
    parts = (origin,) if origin else ()
    return verdicts.mark("htpasswd", name, password, *parts)


def bad_password(reason: str) -> Unauthenticated:
    """
    Return the one fault for a name and a password that do not hold; what it says is always that.

    Args:
        reason: A code for the operator's log, which nobody else sees.
    """
    fault = Unauthenticated(
        "Wrong name or password. Send those that the operator of this index gave you.",
        short="Wrong name or password.",
    )
    fault.__cause__ = Refused(reason)
    return fault
