"""A bucket that cannot be written: what servers and commands make of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.fake_gcs.server import FakeGcs
from tests.instances.bucket_cluster import BucketCluster, Instance, cluster_at, contents
from tests.waiting import until

pytestmark = pytest.mark.parametrize("service", ["google"], indirect=True)

FOR_EVER = 1_000_000
WRITES = ("insert", "resumable-start", "delete")
READ_ONLY = {"WHEELYARD_SERVER_READ_ONLY": "true"}
Refuse = Callable[[FakeGcs], None]

REFUSALS: dict[str, tuple[Refuse, str, str]] = {
    "no right to create": (
        lambda server: server.permissions.deny("storage.objects.create"),
        "storage.objects.create",
        "1",
    ),
    "no right to replace": (
        lambda server: server.permissions.deny("storage.objects.delete"),
        "storage.objects.delete",
        "2",
    ),
}
"""The cause of a refusal, its message, and the number of workers."""


@pytest.fixture
def cluster(cluster: BucketCluster) -> BucketCluster:
    """Return the store with a project in it."""
    assert cluster.run("upload", *cluster.written(make_wheel("demo"))).returncode == 0
    return cluster


def permit_everything(server: FakeGcs) -> None:
    """End whatever was refused."""
    server.permissions.allow()
    server.faults.clear()


def readiness(instance: Instance) -> tuple[int, str]:
    """Return the response of `/ready`."""
    status, body = instance.ask("GET", "/ready")
    return status, "" if status == 200 else json.loads(body)["message"]


def until_ready(instance: Instance) -> None:
    """Wait until a server is ready."""
    until(lambda: readiness(instance)[0] == 200, instance.log.read_text)


@pytest.mark.parametrize(("refuse", "words", "workers"), REFUSALS.values(), ids=REFUSALS)
def test_server_that_cannot_write_is_not_ready(
    server: FakeGcs, cluster: BucketCluster, refuse: Refuse, words: str, workers: str
) -> None:
    """A server is not ready until a write has succeeded, says why not, and reads all the same."""
    token = cluster.make_token()
    refuse(server)
    before = server.bucket("wheels").names()

    with cluster.serving(token, "--workers", workers) as instance:
        status, message = readiness(instance)
        assert status == 503
        assert "storage_denied" in message
        assert "gs://" not in message
        assert instance.shows(make_wheel("demo"))
        assert instance.ask("GET", "/health")[0] == 200
        assert instance.post(make_wheel("demo", "2.0")) == 503
        # it is logged right after `/ready` has changed
        until(lambda: instance.log.read_text().count("/ready answers 503: ") == 1)
        assert words in instance.log.read_text()

        permit_everything(server)
        until_ready(instance)

        assert instance.post(make_wheel("demo", "2.0")) == 200
        until(lambda: "/ready answers 200" in instance.log.read_text())
        refuse(server)
        assert instance.post(make_wheel("demo", "3.0")) == 503
        assert {readiness(instance)[0] for _ in range(8)} == {200}
    after = server.bucket("wheels").names()
    assert set(before) <= set(after)
    assert not [name for name in after if "probe" in name]


@pytest.mark.parametrize("workers", ["1", "3"])
def test_server_writes_once_at_its_start(
    server: FakeGcs, cluster: BucketCluster, workers: str
) -> None:
    """A server writes once when it starts, however many workers it has, and never for a probe."""
    before = contents(server.bucket("wheels"))
    server.log.clear()

    with cluster.serving("", "--workers", workers) as instance:
        assert {readiness(instance)[0] for _ in range(20)} == {200}

    written = [record.kind for record in server.log.records() if record.kind in WRITES]
    assert written == ["insert"]
    assert contents(server.bucket("wheels")) == before


def test_credentials_store_is_tried_too(server: FakeGcs, cluster: BucketCluster) -> None:
    """Where tokens have a bucket of their own, that has to be written, too."""
    settings = cluster.folder / "wheelyard.toml"
    settings.write_text('[access]\ncredentials_store = "gs://apart"\n')
    server.log.clear()

    with cluster.serving("", "--config", str(settings)) as instance:
        assert readiness(instance)[0] == 200

    written = [record.bucket for record in server.log.records() if record.kind == "insert"]
    assert sorted(written) == ["apart", "wheels"]
    server.remove_bucket("apart")
    done = cluster.run("config", "check", "--config", settings)
    assert (done.returncode, "The bucket gs://apart does not exist" in done.stderr) == (1, True)


def test_read_only_server_writes_nothing(server: FakeGcs, cluster: BucketCluster) -> None:
    """A server with read_only is ready without a write, and makes none, not even a token's day."""
    token = cluster.make_token()
    server.permissions.deny("storage.objects.create", "storage.objects.delete")
    server.log.clear()
    reading = cluster.with_variables(**cluster.variables, **READ_ONLY)

    with reading.serving(token, "--private") as instance:
        assert readiness(instance)[0] == 200
        answer = instance.ask("GET", "/simple/demo/", Authorization=f"Bearer {token}")
        assert answer[0] == 200
        assert instance.post(make_wheel("demo", "2.0")) == 403

    assert {record.kind for record in server.log.records()}.isdisjoint(WRITES)


def test_read_only_server_makes_no_store(server: FakeGcs, tmp_path: Path) -> None:
    """A server with read_only begins no store, and imports nothing."""
    cluster = cluster_at(server, tmp_path, "apart")
    cluster = cluster.with_variables(**cluster.variables, **READ_ONLY)

    done = cluster.run("serve", "--port", "0")
    watching = cluster.run("serve", "--watch", str(tmp_path))

    assert (done.returncode, "There is no store at gs://apart" in done.stderr) == (1, True)
    assert (watching.returncode, "imports nothing" in watching.stderr) == (1, True)
    assert server.bucket("apart").names() == []


@pytest.mark.parametrize(
    ("denied", "problems"),
    [
        (["storage.objects.delete"], ["storage.objects.delete"]),
        (
            ["storage.objects.create", "storage.objects.get", "storage.objects.list"],
            ["storage.objects.list", "storage.objects.get", "storage.objects.create"],
        ),
    ],
)
def test_config_check_names_missing_rights(
    server: FakeGcs, cluster: BucketCluster, denied: list[str], problems: list[str]
) -> None:
    """`config check` names every right that is missing, and changes nothing in the bucket."""
    before = contents(server.bucket("wheels"))
    assert cluster.run("config", "check").returncode == 0
    assert contents(server.bucket("wheels")) == before
    server.permissions.deny(*denied)

    done = cluster.run("config", "check")

    lines = [line for line in done.stderr.splitlines() if "permission" in line]
    assert done.returncode == 1
    assert len(lines) == len(problems)
    assert all(name in line for name, line in zip(problems, lines, strict=True))
