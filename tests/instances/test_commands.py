"""Every command against a bucket, with no server anywhere."""

import json
import re
from collections.abc import Sequence
from getpass import getuser
from pathlib import Path

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.instances.bucket_cluster import BucketCluster, cluster_at, contents, data_of, put_all
from tests.services.fixtures import ALL
from tests.services.service import BucketView

pytestmark = pytest.mark.slow
everywhere = pytest.mark.parametrize("service", ALL, indirect=True)
at_google = pytest.mark.parametrize("service", ["google"], indirect=True)

ONE, TWO = make_wheel("acme_core"), make_wheel("acme_core", "2.0")
LISTED = re.compile(r"(\S+)\t(\d+)\t\d{4}-\d\d-\d\d \d\d:\d\d\t(\S+)(?:\t(.*))?")
DAY = 24 * 3600.0


@pytest.fixture(scope="module")
def one_release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every object of a store with one release."""
    with running_fake_gcs("wheels") as server:
        cluster = cluster_at(server, tmp_path_factory.mktemp("stock"))
        assert cluster.run("upload", *cluster.written(ONE)).returncode == 0
        return contents(server.bucket("wheels"))


@pytest.fixture
def stocked_cluster(
    bucket: BucketView, cluster: BucketCluster, one_release: dict[str, bytes]
) -> BucketCluster:
    """The store, with one release in it."""
    put_all(bucket, one_release)
    return cluster


@pytest.fixture
def as_account(server: FakeGcs, cluster: BucketCluster) -> BucketCluster:
    """The stocked store, for commands that have a service account's key file."""
    server.permissions.token_required = True
    return cluster.with_variables(
        GOOGLE_APPLICATION_CREDENTIALS=str(server.write_key_file(cluster.folder)),
        API_ENDPOINT_OVERRIDE=server.url,
    )


def authors(bucket: BucketView) -> list[str]:
    """Return who did what is in the journal, oldest first."""
    entries = [json.loads(data_of(bucket, name)) for name in bucket.names("journal/")]
    return [event["by"] for entry in entries for event in entry["events"]]


@everywhere
def test_commands_manage_a_release(bucket: BucketView, cluster: BucketCluster) -> None:
    """A release is uploaded, listed, yanked, taken back, closed and deleted, each in a line."""
    first = cluster.run("upload", *cluster.written(ONE, TWO))
    assert (first.returncode, first.stderr) == (
        0,
        f"wheelyard: made a new store at {cluster.store}\n",
    )
    assert first.stdout == "".join(
        f"{made.filename}  sha256:{made.sha256}  uploaded\n" for made in (ONE, TWO)
    )
    assert cluster.succeed("list") == "acme-core\n"
    assert json.loads(cluster.succeed("list", "--json")) == {"projects": [{"name": "acme-core"}]}
    listed = json.loads(cluster.succeed("list", "acme_core", "--json"))["files"]
    assert {each["filename"]: each["sha256"] for each in listed} == {
        made.filename: made.sha256 for made in (ONE, TWO)
    }

    output = cluster.succeed("yank", "acme-core", "2.0", "--reason", "bad")
    assert output == f"acme-core 2.0: yanked  {TWO.filename}\n"
    lines = cluster.succeed("list", "acme-core").splitlines()
    rows = [match.groups() for line in lines if (match := LISTED.fullmatch(line))]
    by = f"local:{getuser()}"
    assert rows == [
        (ONE.filename, str(len(ONE.body)), by, None),
        (TWO.filename, str(len(TWO.body)), by, "yanked: bad"),
    ]
    output = cluster.succeed("unyank", "acme-core", "2.0")
    assert output == f"acme-core 2.0: no longer yanked  {TWO.filename}\n"
    assert cluster.succeed("status", "acme-core", "archived") == "acme-core: archived\n"
    closed = cluster.run("upload", *cluster.written(make_wheel("acme_core", "3.0")))
    assert (closed.returncode, "is archived" in closed.stderr) == (1, True)
    assert cluster.succeed("status", "acme-core", "active") == "acme-core: active\n"
    deleted = cluster.run("delete", "acme-core", "1.0", "--yes")
    assert deleted.stdout == f"acme-core 1.0: deleted  {ONE.filename}  sha256:{ONE.sha256}\n"
    assert (deleted.returncode, "the bytes are kept until" in deleted.stderr) == (0, True)
    gone = cluster.run("upload", *cluster.written(ONE))
    assert (gone.returncode, "has been deleted" in gone.stderr) == (1, True)

    assert {name.split("/")[2] for name in bucket.names("files/")} == {ONE.sha256, TWO.sha256}
    assert authors(bucket) == [by] * 7
    assert cluster.succeed("check").startswith("clean: 1 project, 1 file, ")
    assert cluster.succeed("check", "--rebuild", "--sweep").splitlines()[:-1] == [
        "rebuilt 1 document from journals"
    ]


@at_google
def test_journal_names_the_service_account(
    bucket: Bucket, server: FakeGcs, as_account: BucketCluster
) -> None:
    """With a service account's key file, the journal names the account."""
    assert (
        as_account.run("upload", *as_account.written(ONE, make_sdist("acme_core"))).returncode == 0
    )
    as_account.succeed("yank", "acme-core", "1.0")

    assert authors(bucket) == [server.identity.email] * 3
    assert as_account.listed("acme-core") == {ONE.filename, make_sdist("acme_core").filename}
    assert f"\t{server.identity.email}\t" in as_account.succeed("list", "acme-core")


@at_google
@pytest.mark.parametrize(("age", "swept"), [(0.9 * DAY, 0), (1.1 * DAY, 2)])
def test_sweep_removes_old_leftovers(
    server: FakeGcs, bucket: Bucket, stocked_cluster: BucketCluster, age: float, swept: int
) -> None:
    """A sweep removes what no project lists once it is a day old, and nothing else."""
    listed = set(bucket.names("files/"))
    server.clock.advance(seconds=-age)  # the bucket's clock dates what it stores
    orphan = f"files/acme-core/{TWO.sha256}/{TWO.filename}"
    bucket.put(orphan, TWO.body)
    bucket.put(f"{orphan}.metadata", b"")
    server.clock.advance(seconds=age)

    assert "note: 2 objects under files/ belong to no listed file" in stocked_cluster.succeed(
        "check"
    )
    findings = stocked_cluster.check("--sweep")

    assert findings["swept"] == swept
    assert listed <= set(bucket.names("files/"))
    assert len(bucket.names("files/")) == len(listed) + 2 - swept


COMMANDS: dict[str, Sequence[str]] = {
    "upload": ("upload",),
    "list": ("list",),
    "serve": ("serve", "--port", "0"),
    "yank": ("yank", "acme-core", "1.0"),
}


def arguments(cluster: BucketCluster, command: str) -> list[str | Path]:
    """Return what is typed."""
    return [*COMMANDS[command], *(cluster.written(TWO) if command == "upload" else [])]


def tried(cluster: BucketCluster, command: str) -> str:
    """Run a command, assert that it fails, and return its one-line message."""
    done = cluster.run(*arguments(cluster, command))
    assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("wheelyard: ")
    return line


@at_google
@pytest.mark.parametrize("command", ["list", "serve"])
def test_missing_credentials_are_explained(
    cluster: BucketCluster, server: FakeGcs, command: str
) -> None:
    """Without any credentials a command says so, and how to get some."""
    nobody = cluster.with_variables(NO_GCE_CHECK="true", API_ENDPOINT_OVERRIDE=server.url)

    assert "There are no credentials for gs://wheels" in tried(nobody, command)

    assert server.log.records() == []


@at_google
@pytest.mark.parametrize("command", ["upload", "yank"])
@pytest.mark.parametrize("right", ["create", "delete"])
def test_refused_write_leaves_nothing_half_done(
    bucket: Bucket, server: FakeGcs, stocked_cluster: BucketCluster, command: str, right: str
) -> None:
    """Without a permission to write nothing is half done; to replace an object takes two."""
    before = {name: data_of(bucket, name) for name in bucket.names("projects")}
    server.permissions.deny(f"storage.objects.{right}")

    assert f"the permission storage.objects.{right} on gs://wheels" in tried(
        stocked_cluster, command
    )

    assert {name: data_of(bucket, name) for name in bucket.names("projects")} == before
    assert len(bucket.names("journal/")) == 1
    server.permissions.allow()
    stocked_cluster.succeed(*arguments(stocked_cluster, command))
    assert stocked_cluster.check()["notes"] == []


@everywhere
def test_an_empty_bucket_is_no_store(bucket: BucketView, cluster: BucketCluster) -> None:
    """To look into a bucket that has no store in it says so, and makes none."""
    for command in ("list", "yank"):
        assert f"There is no store at {cluster.store}." in tried(cluster, command)

    assert bucket.names() == []
