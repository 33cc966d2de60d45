"""Opens a store at a service, inside this process."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.services.service import Service
from tests.storage.gcs.opened import Opener, StillTime
from wheelyard.concurrency.runtime import Runtime
from wheelyard.storage.base import Store
from wheelyard.storage.buckets import open_bucket
from wheelyard.storage.forwarding import OperationCounter
from wheelyard.storage.location import GOOGLE, parse_location
from wheelyard.wiring.stores import system_runtime


@contextmanager
def store_at(service: Service, time: StillTime, path: str = "wheels") -> Iterator[Store]:
    """Yield the store at `BUCKET` or `BUCKET/PREFIX`, whose pauses are those of `time`."""
    location = service.location(path)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment().items():
            patch.setenv(name, value)
        if parse_location(location).scheme == GOOGLE:
            opener = Opener()
            yield opener(location, time).store
            opener.close()
            return
        runtime = Runtime(
            now=system_runtime().now,
            monotonic=time.monotonic,
            pause=time.pause,
            random=time.chance,
        )
        yield open_bucket(parse_location(location), runtime, OperationCounter()).documents
