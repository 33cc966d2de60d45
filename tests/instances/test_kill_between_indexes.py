"""A process is killed at each write of a promotion, a restoration or a removal from all indexes."""

from collections.abc import Mapping

import pytest

from tests.catalog.invariants import DEMO, PROD, document
from tests.distributions import Distribution, make_wheel
from tests.fake_gcs.server import running_fake_gcs
from tests.instances.bucket_cluster import BucketCluster, cluster_at, contents, put_all
from tests.instances.test_kill import KillPoint, assert_nothing_dangles, copy_of, die, moments
from tests.services.service import BucketView, Service
from wheelyard.catalog import keys
from wheelyard.model.project import Project
from wheelyard.storage.forwarding import PrefixedStore

pytestmark = pytest.mark.slow

BUILDS = [
    Distribution(f"demo-1.0-{build}-py3-none-any.whl", make_wheel().body) for build in (1, 2, 3)
]
"""Wheels of the same bytes, which one removal removes."""
NAMES = {made.filename for made in BUILDS}
COMMIT = (
    ("insert", "pending/demo.*"),
    ("insert", "projects/demo.json"),
    ("insert", "journal/demo/*"),
)
COMMIT_IN_PROD = tuple((kind, f"indexes/prod/{name}") for kind, name in COMMIT)
BYTES = (("delete", "files/*.whl"), ("delete", "files/*.whl.metadata"))
FEED = (("insert", "changes.json"),)
PROMOTED = ("promote", "demo", "1.0", "--to", "prod")
DELETED = ("delete", "demo", "1.0", "--yes")
RESTORED = ("restore", "demo", "1.0")
REMOVED = ("delete", "demo", f"sha256:{BUILDS[0].sha256}", "--now", "--everywhere", "--yes")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, bytes]]:
    """The objects of a store before a promotion, before a restoration, and before a removal."""
    states = {}
    with running_fake_gcs("wheels") as server:
        cluster = cluster_at(server, tmp_path_factory.mktemp("index"))
        bucket = server.bucket("wheels")
        cluster.make_token()
        cluster.succeed("upload", *cluster.written(*BUILDS))
        cluster.succeed("index", "add", "prod")
        states["promote"] = contents(bucket)
        cluster.succeed(*PROMOTED)
        states["remove"] = contents(bucket)
        assert cluster.run(*DELETED).returncode == 0
        states["restore"] = contents(bucket)
    return states


def documents(bucket: BucketView) -> tuple[Project, Project]:
    """Return the project in main, and in the other one."""
    store = copy_of(bucket)
    return document(store), document(PrefixedStore(store, PROD))


def listed(project: Project) -> set[str]:
    """Return the names of its files."""
    return {file.filename for file in project.files}


@pytest.mark.parametrize(
    "moment",
    moments(*COMMIT, *COMMIT_IN_PROD, ("insert", "indexes/prod/projects.json"), *FEED),
    ids=str,
)
def test_killed_promotion_lists_all_files_or_none(
    service: Service,
    bucket: BucketView,
    cluster: BucketCluster,
    states: Mapping[str, Mapping[str, bytes]],
    moment: KillPoint,
) -> None:
    """A promotion, killed anywhere, lists all files of the release or none, and can be repeated."""
    put_all(bucket, states["promote"])
    die(service, cluster, moment, *PROMOTED)
    assert_nothing_dangles(bucket)
    source, target = documents(bucket)
    assert listed(source) == NAMES
    assert listed(target) in (set(), NAMES)

    cluster.succeed(*PROMOTED)
    assert [set(file.promoted_to) for file in documents(bucket)[0].files] == [{"prod"}] * 3
    assert [file.promoted_from for file in documents(bucket)[1].files] == ["main"] * 3
    assert cluster.succeed("list", "--index", "prod").split() == ["demo"]
    assert_nothing_dangles(bucket)
    cluster.check("--rebuild", "--sweep")
    assert listed(documents(bucket)[1]) == NAMES


@pytest.mark.parametrize("moment", moments(*COMMIT, *FEED), ids=str)
def test_killed_restoration_restores_all_files_or_none(
    service: Service,
    bucket: BucketView,
    cluster: BucketCluster,
    states: Mapping[str, Mapping[str, bytes]],
    moment: KillPoint,
) -> None:
    """A restoration, killed anywhere, brings all files back or none, and can be repeated."""
    put_all(bucket, states["restore"])
    die(service, cluster, moment, *RESTORED)
    assert_nothing_dangles(bucket)
    assert listed(documents(bucket)[0]) in (set(), NAMES)

    assert cluster.run(*RESTORED).returncode == 0
    cluster.check("--rebuild", "--sweep")
    assert_nothing_dangles(bucket)
    source, target = documents(bucket)
    assert (listed(source), source.trash) == (NAMES, ())
    assert listed(target) == NAMES


@pytest.mark.parametrize("moment", moments(*COMMIT_IN_PROD, *COMMIT, *BYTES), ids=str)
def test_killed_removal_is_finished_by_the_same_again(
    service: Service,
    bucket: BucketView,
    cluster: BucketCluster,
    states: Mapping[str, Mapping[str, bytes]],
    moment: KillPoint,
) -> None:
    """A removal from all indexes, killed anywhere, lists no file whose bytes are gone."""
    put_all(bucket, states["remove"])
    die(service, cluster, moment, *REMOVED)
    assert_nothing_dangles(bucket)

    assert cluster.run(*REMOVED).returncode == 0
    assert [listed(project) for project in documents(bucket)] == [set(), set()]
    assert [*copy_of(bucket).list(keys.files_of(DEMO))] == []
    cluster.check("--rebuild", "--sweep")
    assert_nothing_dangles(bucket)
