"""A process is killed at each of its writes in turn: nothing dangles, and doing it again heals."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.catalog.invariants import document, violations
from tests.distributions import make_wheel
from tests.fake_gcs.faults import Hold, When
from tests.fake_gcs.server import running_fake_gcs
from tests.fake_time import Clock, fake_runtime
from tests.http.in_process import InProcessServer, in_process
from tests.instances.bucket_cluster import (
    BucketCluster,
    assert_dense,
    cluster_at,
    contents,
    data_of,
    put_all,
)
from tests.services.service import BucketView, Service
from wheelyard.settings.sections import Settings
from wheelyard.storage.base import Key, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index

pytestmark = pytest.mark.slow

ZERO, ONE, OTHER_BUILD = make_wheel(version="0.9"), make_wheel(), make_wheel(content=b"rebuilt")


@dataclass(frozen=True)
class KillPoint:
    """A request at which a process dies, before it is carried out or after."""

    kind: str
    name: str
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.kind} {self.name}"


def moments(*requests: tuple[str, str]) -> list[KillPoint]:
    """Return the moments: before the first request, and after each, which is before the next."""
    first = KillPoint(*requests[0], "before")
    return [first, *(KillPoint(kind, name, "after") for kind, name in requests)]


BYTES = ("insert", "files/*.whl")
METADATA = ("insert", "files/*.whl.metadata")
MARK = ("insert", "pending/demo.*")
DOCUMENT = ("insert", "projects/demo.json")
JOURNAL = ("insert", "journal/demo/*")
NAMES = ("insert", "projects.json")

UPLOAD = moments(BYTES, METADATA, MARK, DOCUMENT, JOURNAL, NAMES)
UNCOMMITTED = UPLOAD[:4]
"""Of an upload: nothing is listed yet."""
UNDONE = (0, 0, 0, 0, 2, 1, 0)
"""Of an upload, at each moment: how much of what is committed is not yet written elsewhere."""
DELETE = moments(
    MARK, DOCUMENT, JOURNAL, ("delete", "files/*.whl"), ("delete", "files/*.whl.metadata")
)


@dataclass(frozen=True)
class InitialState:
    """The objects of a store before anything was published, those after, and a token for it."""

    empty: Mapping[str, bytes]
    stocked: Mapping[str, bytes]
    token: str


@pytest.fixture(scope="module")
def initial_state(tmp_path_factory: pytest.TempPathFactory) -> InitialState:
    """The initial state of every test."""
    with running_fake_gcs("wheels") as server:
        cluster, bucket = (
            cluster_at(server, tmp_path_factory.mktemp("index")),
            server.bucket("wheels"),
        )
        token, empty = cluster.make_token(), contents(bucket)
        cluster.succeed("upload", *cluster.written(ZERO, ONE))
        return InitialState(empty, contents(bucket), token)


@pytest.fixture
def bucket(bucket: BucketView, initial_state: InitialState) -> BucketView:
    """The bucket, with the empty store in it."""
    put_all(bucket, initial_state.empty)
    return bucket


@pytest.fixture
def stocked_cluster(
    cluster: BucketCluster, bucket: BucketView, initial_state: InitialState
) -> BucketCluster:
    """The bucket, with a store of two releases in it."""
    put_all(bucket, initial_state.stocked)
    return cluster


def die(service: Service, cluster: BucketCluster, moment: KillPoint, *command: str | Path) -> None:
    """Run a command that is killed at that moment."""
    hold = Hold(moment.when)
    service.faults.add(hold, moment.kind, moment.name)
    process = cluster.begin(*command)
    try:
        hold.wait()
    finally:
        process.kill()
    # what was on its way when the process died is lost
    hold.abandon()
    service.faults.clear()


def copy_of(bucket: BucketView) -> MemoryStore:
    """Return a store with the same objects."""
    store = MemoryStore(lambda: 0.0)
    for name, data in contents(bucket).items():
        store.put(Key(name), data, None)
    return store


def assert_nothing_dangles(bucket: BucketView) -> None:
    """Expect that whatever is listed is there, and that document and journal agree."""
    assert list(violations(copy_of(bucket), {}, {})) == []


def assert_healed(bucket: BucketView, folder: Path, *files: str) -> None:
    """Expect that these files are listed, and that a check finds nothing to mend."""
    store = copy_of(bucket)
    assert {file.filename for file in document(store).files} == set(files)
    assert json.loads(data_of(bucket, "projects.json"))["names"] == ["demo"]
    assert_dense(bucket, "demo")
    index = build_index(Stores.of(store), Spool(folder), Settings(), fake_runtime(Clock(), seed=1))
    findings = index.server.check.run(rebuild=True)
    assert (findings.problems, findings.repaired) == ([], [])


def put_back(bucket: BucketView, objects: Mapping[str, bytes]) -> None:
    """Replace the content of a bucket."""
    for name in bucket.names():
        bucket.remove(name)
    put_all(bucket, objects)


@pytest.mark.parametrize("moment", UPLOAD, ids=str)
def test_killed_upload_heals(
    service: Service, bucket: BucketView, cluster: BucketCluster, moment: KillPoint
) -> None:
    """A project's first upload, killed anywhere, is put right by the same again, or by a check."""
    (wheel,), (other,) = cluster.written(ONE), cluster.written(OTHER_BUILD)
    die(service, cluster, moment, "upload", wheel)
    assert_nothing_dangles(bucket)
    left = contents(bucket)

    cluster.succeed("upload", wheel)
    assert_healed(bucket, cluster.folder, ONE.filename)

    put_back(bucket, left)
    assert len(cluster.check()["mended"]) == dict(zip(UPLOAD, UNDONE, strict=True))[moment]
    if moment not in UNCOMMITTED:
        assert_healed(bucket, cluster.folder, ONE.filename)
        return
    assert bucket.names("projects") == []
    # a version that was never listed can still be built again
    cluster.succeed("upload", other)
    assert cluster.run("upload", wheel).returncode == 1
    assert_healed(bucket, cluster.folder, OTHER_BUILD.filename)
    assert OTHER_BUILD.sha256 in data_of(bucket, "projects/demo.json").decode()


@pytest.mark.parametrize("moment", DELETE, ids=str)
def test_killed_delete_heals(
    service: Service, bucket: BucketView, stocked_cluster: BucketCluster, moment: KillPoint
) -> None:
    """A delete of bytes, killed anywhere, is finished by the same again, and by a sweep."""
    removal = ("delete", "demo", f"sha256:{ONE.sha256}", "--now", "--yes")
    die(service, stocked_cluster, moment, *removal)
    assert_nothing_dangles(bucket)
    again = stocked_cluster.run(*removal)
    assert again.returncode == 0

    assert_healed(bucket, stocked_cluster.folder, ZERO.filename)
    left = {name for name in bucket.names("files/") if ONE.sha256 in name}
    assert stocked_cluster.check("--sweep")["swept"] == len(left)
    assert {name.split("/")[2] for name in bucket.names("files/")} == {ZERO.sha256}


@pytest.mark.parametrize("moment", UPLOAD[1:], ids=str)
def test_killed_server_lists_whole_files_alone(
    service: Service,
    bucket: BucketView,
    cluster: BucketCluster,
    initial_state: InitialState,
    moment: KillPoint,
) -> None:
    """A server, killed anywhere in an upload, leaves pages whose files are all there."""
    hold = Hold(moment.when)
    with cluster.serving(initial_state.token) as first, ThreadPoolExecutor(1) as pool:
        service.faults.add(hold, moment.kind, moment.name)
        answer = pool.submit(first.post, ONE)
        hold.wait()
        first.kill()
        hold.abandon()
        assert answer.result() == 0
    service.faults.clear()
    assert_nothing_dangles(bucket)

    with in_process(cluster.folder, store=copy_of(bucket)) as second:
        for file in page_of(second):
            assert second.get(urljoin("/simple/demo/", file["url"])).status == 200
        second.publish(ONE)
        assert [file["filename"] for file in page_of(second)] == [ONE.filename]


def page_of(server: InProcessServer) -> list[dict[str, str]]:
    """Return the files of the project's page, none if there is no page."""
    page = server.get("/simple/demo/", ("accept", "application/vnd.pypi.simple.v1+json"))
    assert page.status in {200, 404}
    files: list[dict[str, str]] = json.loads(page.body)["files"] if page.status == 200 else []
    return files
