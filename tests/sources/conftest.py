"""A fake GCS server, and a home folder without credentials."""

from collections.abc import Iterator
from pathlib import Path

import pytest

# it binds a socket when it is imported, which the first test would be blamed for
import urllib3.util.connection  # noqa: F401

from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs, running_fake_gcs


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home of the test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcs]:
    """Yield a fake GCS server, and set the environment for it."""
    with running_fake_gcs("wheels") as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        yield running


@pytest.fixture
def bucket(server: FakeGcs) -> Bucket:
    """Return the bucket of the server, past the wire."""
    return server.bucket("wheels")
