"""A service that keeps objects, on a port of this machine, and a look at its buckets."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from types import MappingProxyType
from typing import Protocol

from tests.fake_gcs.faults import FaultPlan
from tests.fake_gcs.log import RequestLog
from tests.services.azure import Azure
from tests.services.dialect import Dialect
from tests.services.proxy import FaultProxy
from tests.services.s3 import S3
from tests.waiting import TIMEOUT_SECONDS

DIALECTS: dict[str, Dialect] = {"s3": S3(), "azure": Azure()}
"""The dialect of each service that an emulator of others speaks."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class HasData(Protocol):
    """An object."""

    @property
    def data(self) -> bytes:
        """The bytes of the object."""
        ...


class BucketView(Protocol):
    """A bucket, past the faults and the log."""

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of its objects that begin so, sorted."""
        ...

    def get(self, name: str) -> HasData | None:
        """Return an object, None if it is not there."""
        ...

    def put(self, name: str, data: bytes, /) -> object:
        """Write an object."""
        ...

    def remove(self, name: str) -> None:
        """Take an object away."""
        ...


class Service(Protocol):
    """
    A service as tests use it, and as `FakeGcs` is one.

    Attributes:
        faults: What is to go wrong.
        log: What was asked.
    """

    faults: FaultPlan
    log: RequestLog

    def location(self, path: str) -> str:
        """Return the location of `BUCKET` or `BUCKET/PREFIX`; the bucket is one of this test's."""
        ...

    def bucket(self, name: str) -> BucketView:
        """Return a bucket, which is made if it is not there."""
        ...

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a client here, with credentials."""
        ...

    def start(self) -> None:
        """Accept connections, after a stop again on the same port."""
        ...

    def stop(self) -> None:
        """Refuse connections, and break off those that there are; objects stay."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object, as it was read."""

    data: bytes


class RemoteBucket:
    """A bucket of an emulator."""

    def __init__(self, dialect: Dialect, address: str, name: str) -> None:
        self._dialect = dialect
        self._address = address
        self._name = name

    def make(self) -> None:
        """Make it."""
        assert self._ask(*self._dialect.creation(self._name)) is not None

    def names(self, prefix: str = "") -> list[str]:
        """See `BucketView`."""
        found, begin = list[str](), ""
        while True:
            target = self._dialect.listing(self._name, prefix, begin)
            page = self._dialect.page(self._ask("GET", target) or b"")
            found += page.names
            begin = page.following
            if not begin:
                return sorted(found)

    def get(self, name: str) -> RemoteObject | None:
        """See `BucketView`."""
        data = self._ask("GET", self.target(name))
        return None if data is None else RemoteObject(data)

    def put(self, name: str, data: bytes, /, **metadata: str) -> None:
        """See `BucketView`; `metadata` is custom metadata of the object."""
        prefix = self._dialect.metadata_prefix
        headers = {f"{prefix}{key}": text for key, text in metadata.items()}
        self._ask("PUT", self.target(name), data, headers)

    def remove(self, name: str) -> None:
        """See `BucketView`."""
        self._ask("DELETE", self.target(name))

    def target(self, name: str) -> str:
        """Return the target of a request for an object."""
        return self._dialect.target(self._name, name)

    def headers(self, body: bytes) -> dict[str, str]:
        """Return the headers of a request with this body."""
        return {"Content-Length": str(len(body)), **dict(self._dialect.headers())}

    def _ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
    ) -> bytes | None:
        """Return the body of the answer, None if it is 404."""
        connection = HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, target, body, {**self.headers(body), **headers})
            answer = connection.getresponse()
            found = answer.read()
        finally:
            connection.close()
        assert answer.status in {200, 201, 202, 204, 404}, (target, answer.status, found)
        return None if answer.status == 404 else found


class ProxiedService:
    """An emulator behind a proxy of this test's, with buckets of this test's."""

    def __init__(self, dialect: Dialect, address: str) -> None:
        self._dialect = dialect
        self._address = address
        self._proxy = FaultProxy(dialect, address)
        self._suffix = secrets.token_hex(6)
        self._buckets: dict[str, RemoteBucket] = {}
        self.faults = self._proxy.faults
        self.log = self._proxy.log

    def location(self, path: str) -> str:
        """See `Service`."""
        name, _, prefix = path.partition("/")
        return f"{self._dialect.scheme}://{name}-{self._suffix}/{prefix}".rstrip("/")

    def bucket(self, name: str) -> RemoteBucket:
        """See `Service`."""
        if name not in self._buckets:
            bucket = RemoteBucket(self._dialect, self._address, f"{name}-{self._suffix}")
            bucket.make()
            self._buckets[name] = bucket
        return self._buckets[name]

    @property
    def url(self) -> str:
        """The root of the service, without a slash at its end."""
        return f"http://127.0.0.1:{self._proxy.listener.port}"

    def environment(self) -> dict[str, str]:
        """See `Service`."""
        return self._dialect.environment(self.url)

    def start(self) -> None:
        """See `Service`."""
        self._proxy.listener.start()

    def stop(self) -> None:
        """See `Service`."""
        self._proxy.closing.set()
        self.faults.abandon()
        self._proxy.listener.stop()


@contextmanager
def proxied(dialect: Dialect, address: str, *buckets: str) -> Iterator[ProxiedService]:
    """Yield an emulator as a test's own service that has these buckets."""
    service = ProxiedService(dialect, address)
    for name in buckets:
        service.bucket(name)
    service.start()
    try:
        yield service
    finally:
        service.stop()
