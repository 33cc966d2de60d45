"""Installing from an index in a bucket, by redirect and through the index, with every client."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.bucket_clients.bucket_server import BucketIndex, as_account, running_bucket_index
from tests.clients import test_install as known
from tests.clients.harness import Sandbox
from tests.clients.projects import Builder, Built
from tests.clients.public_index import PublicIndex
from tests.clients.reading import publish
from tests.clients.servers import Server
from tests.fake_gcs.server import FakeGcs

pytestmark = pytest.mark.clients

public = known.public

Install = Callable[[Server, PublicIndex, Sandbox, Built, Built], None]
Mode = Literal["redirect", "proxy"]

CLIENTS: dict[str, Install] = {
    "pip": lambda index, _, *rest: known.test_pip_install(index, *rest),
    "uv": known.test_uv_pip_install,
    "uv-lock": known.test_uv_lock,
    "poetry": known.test_poetry,
    "pdm": known.test_pdm,
}
"""
The install tests of an index in a folder, run here with a private index in a bucket.

Hatch and Pipenv are not here: they have pip or uv install, as `tests/clients` shows.
"""


READERS = ("pip", "uv")
"""Clients that take every package from this index, also the dependency."""


@contextmanager
def stocked_bucket_index(
    folder: Path, cloud: FakeGcs, build: Builder, mode: Mode
) -> Iterator[BucketIndex]:
    """Run a private index whose bucket wants a token or a signature for everything."""
    cloud.permissions.token_required = True
    environment = as_account(cloud, folder) | {"WHEELYARD_STORE_DOWNLOADS": mode}
    with running_bucket_index(folder, cloud, environment, "--private") as running:
        publish(
            running.server,
            build("flit-core", "yard-base", "1!2.0"),
            build("hatchling", "acme-tool", "1.4", "yard-base>=2"),
            build("hatchling", "acme-tool", "1.5+cpu.1", "yard-base>=2"),
        )
        yield running


@pytest.fixture(scope="module")
def redirecting(
    cloud: FakeGcs, build: Builder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BucketIndex]:
    """Yield an index that sends clients to the bucket."""
    with stocked_bucket_index(
        tmp_path_factory.mktemp("redirect"), cloud, build, "redirect"
    ) as index:
        yield index


@pytest.fixture(scope="module")
def proxying(
    cloud: FakeGcs, build: Builder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BucketIndex]:
    """Yield an index through which every byte goes."""
    with stocked_bucket_index(tmp_path_factory.mktemp("proxy"), cloud, build, "proxy") as index:
        yield index


@pytest.mark.parametrize("client", CLIENTS)
def test_redirect(
    redirecting: BucketIndex,
    public: PublicIndex,
    sandbox: Sandbox,
    tool: Built,
    base: Built,
    client: str,
) -> None:
    """Every client installs from a private index in a bucket, and tells the bucket no secret."""
    redirecting.cloud.log.clear()

    CLIENTS[client](redirecting.server, public, sandbox, tool, base)

    # the others take the dependency from the public index
    ours = (tool, base) if client in READERS else (tool,)
    assert_downloaded(redirecting, "redirect", *ours)


@pytest.mark.parametrize("client", READERS)
def test_proxy(
    proxying: BucketIndex,
    public: PublicIndex,
    sandbox: Sandbox,
    tool: Built,
    base: Built,
    client: str,
) -> None:
    """Where files go through the index, clients never hear of the bucket: as from a folder."""
    proxying.cloud.log.clear()

    CLIENTS[client](proxying.server, public, sandbox, tool, base)

    assert_downloaded(proxying, "proxy", tool, base)


def assert_downloaded(index: BucketIndex, mode: Mode, *projects: Built) -> None:
    """Assert that wheels came from the right server, intact, and no secret went to the bucket."""
    log = index.cloud.log
    kind = "signed" if mode == "redirect" else "media"
    taken = {Path(each.name).name for each in log.records(kind) if each.status in {200, 206}}
    assert {each.wheel.name for each in projects} <= taken
    assert log.count(kind="signed") == 0 or mode == "redirect"
    for each in log.records("signed"):
        assert each.status in {200, 206}, each
        assert not each.authorization
