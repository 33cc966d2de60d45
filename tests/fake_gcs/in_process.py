"""The state that all parts of the fake server share."""

from dataclasses import dataclass, field
from threading import Lock

from tests.fake_gcs.errors import no_bucket, unauthenticated
from tests.fake_gcs.identity import Identity, Permissions
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.wire import Request
from tests.fake_time import RunningClock


@dataclass(frozen=True)
class FakeGcsState:
    """The buckets, the clock, the service account and its permissions."""

    clock: RunningClock
    identity: Identity
    permissions: Permissions
    buckets: dict[str, Bucket] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def make_bucket(self, name: str) -> Bucket:
        """Return a bucket, a new one if there is none of that name."""
        with self.lock:
            return self.buckets.setdefault(name, Bucket(name, self.clock))

    def find_bucket(self, name: str) -> Bucket:
        """Return a bucket, or raise 404."""
        found = self.buckets.get(name)
        if found is None:
            raise no_bucket()
        return found

    def authenticate(self, request: Request) -> None:
        """Raise 401 unless the credentials of a request are valid."""
        known = not self.permissions.token_required or self.identity.knows(request)
        if self.permissions.expired or not known:
            raise unauthenticated()
