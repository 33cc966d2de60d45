"""Fixtures for tests of the keyring backend."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from keyring_tests.fake_servers import Index, Listener, MetadataServer, listening, program
from keyring_tests.harness import ACCESS_TOKEN, KeyringHarness, lay_over
from tests.clients.harness import Sandbox


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of an environment with pip, twine, keyring and our backend."""
    return lay_over("twine", "pip")


@pytest.fixture(scope="session")
def poetry_python() -> Path:
    """The Python of Poetry's environment, with our backend."""
    return lay_over("poetry")


@pytest.fixture
def harness(tmp_path: Path, python: Path) -> Iterator[KeyringHarness]:
    """A machine with the index on its allow list, and no Google login."""
    sandbox = Sandbox(tmp_path / "sandbox", tmp_path / "home")
    for folder in (sandbox.folder, sandbox.home):
        folder.mkdir()
    index = Index(login=f"oauth2accesstoken:{ACCESS_TOKEN}")
    harness = KeyringHarness(sandbox, python, index, Listener(), MetadataServer())
    program(harness.bin, "keyring", f'exec {python} -m keyring "$@"')
    harness.log_out()
    with ExitStack() as stack:
        for listener in (harness.index, harness.stranger, harness.metadata):
            stack.enter_context(listening(listener))
        index.stranger = harness.stranger.url
        yield harness
