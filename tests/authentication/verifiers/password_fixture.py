"""Those who log in by name and password, and the hashing that it costs, as tests watch it."""

from pathlib import Path
from threading import Event, Lock

from tests.authentication.verifiers.test_password_hashes import SHA512
from tests.fake_time import Clock, fake_runtime
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier, verify_password
from wheelyard.catalog.document_cache import CachePolicy, Codec, DocumentCache
from wheelyard.catalog.opening import TOKEN_FRESHNESS
from wheelyard.catalog.removed import ChangedPasswords, OutdatedLines
from wheelyard.errors import Unauthenticated
from wheelyard.model.access import Credential, Identity
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore

KEY = bytes(range(32))
ANA = Identity(
    "htpasswd:ana", frozenset({"htpasswd:ana", "allAuthenticated", "anonymous"}), scopes=()
)


class BlockingHasher:
    """The real hash check, which counts its calls and waits for `go_on`."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.two_at_once = Event()
        self.go_on = Event()
        self.go_on.set()
        self.holds_back = b""
        """The prefix of the passwords that wait for `go_on`."""
        self._lock = Lock()

    def __call__(self, password: bytes, hashed: str) -> bool:
        """Check a password, and remember against what."""
        with self._lock:
            self.done.append(hashed)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            if self.at_once > 1:
                self.two_at_once.set()
        if password.startswith(self.holds_back):
            self.go_on.wait(TIMEOUT_SECONDS)
        with self._lock:
            self.at_once -= 1
        return verify_password(password, hashed)


def outdated_lines(store: Store, clock: Clock) -> OutdatedLines:
    """Return the outdated lines of a store in a bucket."""
    policy = CachePolicy(is_local=False, freshness=TOKEN_FRESHNESS, capacity=1_000_000)
    runtime = fake_runtime(clock, 1)
    return OutdatedLines(DocumentCache(store, Codec(ChangedPasswords), runtime, policy))


class PasswordHarness:
    """An htpasswd file with one name in it, those who log in by it, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.hashing = BlockingHasher()
        self.path = folder / "htpasswd"
        self.write(f"ana:{SHA512}\n")
        self.outdated = outdated_lines(MemoryStore(self.clock.seconds), self.clock)
        self.passwords = HtpasswdVerifier(
            self.path, KEY, self.clock.seconds, self.outdated, self.hashing
        )

    def write(self, text: str) -> None:
        """Change the file."""
        self.path.write_text(text)
        self.path.chmod(0o600)

    def refuses(self, name: str, password: str) -> bool:
        """Return whether a login fails with the generic message."""
        refused: Unauthenticated | None = None
        try:
            self.passwords.verify(Credential(name, password))
        except Unauthenticated as fault:
            refused = fault
        return refused is not None and (refused.code, refused.message) == (
            "unauthenticated",
            "Wrong name or password. Send those that the operator of this index gave you.",
        )
