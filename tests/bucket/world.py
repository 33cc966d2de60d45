"""What every part of the stand-in shares."""

from dataclasses import dataclass, field
from threading import Lock

from tests.bucket.clock import Clock, Generations
from tests.bucket.errors import no_bucket
from tests.bucket.identity import Identity
from tests.bucket.objects import Bucket
from tests.bucket.permissions import Permissions, unauthenticated
from tests.bucket.wire import Request


@dataclass(frozen=True)
class World:
    """The buckets, the time, the one account and its rights."""

    clock: Clock
    generations: Generations
    identity: Identity
    permissions: Permissions
    buckets: dict[str, Bucket] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def make_bucket(self, name: str) -> Bucket:
        """Return a bucket, a new one if there is none of that name."""
        with self.lock:
            if name not in self.buckets:
                self.buckets[name] = Bucket(name, self.clock, self.generations)
            return self.buckets[name]

    def find_bucket(self, name: str) -> Bucket:
        """
        Return a bucket.

        Raises:
            ApiError: 404.
        """
        found = self.buckets.get(name)
        if found is None:
            raise no_bucket()
        return found

    def authenticate(self, request: Request) -> None:
        """
        Return if the credentials of a request are good.

        Raises:
            ApiError: 401.
        """
        permissions = self.permissions
        known = not permissions.token_required or self.identity.knows(request)
        if permissions.expired or not known:
            raise unauthenticated()
