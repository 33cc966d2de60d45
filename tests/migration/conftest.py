"""Fixtures: a migration guide to follow, and the packages of the old index."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import build as _build
from tests.clients.harness import Sandbox
from tests.clients.projects import Builder, Built
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.migration.guide_runner import GuideRunner
from tests.sources.web.fake_server import FakeServer, running_fake_server

build = _build

NewGuide = Callable[..., GuideRunner]


@pytest.fixture
def old_release(build: Builder) -> Built:
    """The release of the old index: acme-core 1.0."""
    return build("flit-core", "acme-core")


@pytest.fixture
def other(build: Builder) -> Built:
    """Another release of the old index, with a name that is not normalized."""
    return build("flit-core", "Acme_Tools")


@pytest.fixture
def new_release(build: Builder) -> Built:
    """The release that is published after the migration: acme-core 1.1."""
    return build("flit-core", "acme-core", "1.1")


@pytest.fixture
def new_guide(sandbox: Sandbox, new_release: Built) -> NewGuide:
    """A function that makes the runner of a page of `docs/migration/`."""
    shutil.copytree(new_release.folder / "dist", sandbox.folder / "dist")
    sandbox.python()

    def guide(name: str, stands_for: dict[str, str], **environment: str) -> GuideRunner:
        return GuideRunner(name, sandbox, stands_for, environment)

    return guide


@pytest.fixture
def python(sandbox: Sandbox) -> Path:
    """The environment that is installed into."""
    return sandbox.folder / "venv" / "bin" / "python"


@pytest.fixture
def cloud() -> Iterator[FakeGcs]:
    """A fake GCS server."""
    with running_fake_gcs() as running:
        yield running


@pytest.fixture
def site() -> Iterator[FakeServer]:
    """A fake HTTP server."""
    with running_fake_server() as running:
        yield running
