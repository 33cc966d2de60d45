"""Opens a store at a service, inside this process."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fake_time import Clock
from tests.services.service import Service
from tests.storage.gcs.opened import Opener
from wheelyard.storage.base import Store


@contextmanager
def store_at(service: Service, time: Clock, path: str = "wheels") -> Iterator[Store]:
    """Yield the store at `BUCKET` or `BUCKET/PREFIX`, whose pauses are those of `time`."""
    opener = Opener()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment().items():
            patch.setenv(name, value)
        yield opener(service.location(path), time).store
        opener.close()
