"""Two servers on one bucket: what one has accepted, the other shows within a second."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.durability.serving import get
from tests.fake_gcs.emulator import new_bucket, running_emulator
from tests.instances.bucket_cluster import BucketCluster, Instance, cluster_at
from tests.services.fixtures import ALL, Emulators
from tests.waiting import until

pytestmark = pytest.mark.slow

BOUND = 1.0
"""Seconds after which a change must be visible to every client."""
ROUNDS = 3


Pair = tuple[Instance, Instance]


@pytest.fixture(
    scope="module",
    params=[
        *("google", "s3"),
        *(pytest.param(name, marks=pytest.mark.weekly) for name in ("azure", "fake-gcs-server")),
    ],
)
def cluster(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    emulators: Emulators,
) -> Iterator[BucketCluster]:
    """A new store in a bucket of each kind."""
    folder: Path = tmp_path_factory.mktemp("index")
    if request.param in ALL:
        with emulators.serving(request.param, "wheels") as service:
            yield cluster_at(service, folder, "wheels/some/prefix")
        return
    with running_emulator() as url:
        variables = {"STORAGE_EMULATOR_HOST": url, "GOOGLE_CLOUD_PROJECT": "stand-in"}
        yield BucketCluster(f"gs://{new_bucket(url)}", variables, folder)


@pytest.fixture(scope="module")
def pair(cluster: BucketCluster) -> Iterator[Pair]:
    """Two servers on the store."""
    with cluster.serving_twice() as pair:
        yield pair


def assert_seen(is_seen: Callable[[], bool]) -> None:
    """Ask until a change is visible; fail if it is not visible after a second."""
    answered = time.monotonic()

    def has_come() -> bool:
        waited = time.monotonic() - answered
        seen = is_seen()
        assert seen or waited < BOUND, f"not seen {waited:.3f} s after the answer"
        return seen

    until(has_come)


def test_new_project_is_seen_by_both_servers(pair: Pair) -> None:
    """A new project is visible on the other server within a second, page and list."""
    a, b = pair
    made = make_wheel("fresh")
    assert b.page("fresh") == {}  # which is believed for a second
    assert a.post(made) == 200
    assert a.shows(made)
    assert_seen(partial(b.shows, made))
    assert "fresh" in b.names()


def test_changes_are_seen_by_both_servers(cluster: BucketCluster, pair: Pair) -> None:
    """A yank and a deletion on either server are visible on the other within a second."""
    a, b = pair
    one, two = make_wheel("changing"), make_wheel("changing", "2.0")
    assert [a.post(one), b.post(two)] == [200, 200]
    assert_seen(lambda: b.shows(one) and b.shows(two))

    a.change("changing", "yank", version="1.0", reason="bad")
    assert_seen(lambda: b.page("changing")[one.filename]["yanked"] == "bad")
    b.change("changing", "unyank", version="1.0")
    assert_seen(lambda: a.page("changing")[one.filename]["yanked"] is False)
    file = f"/files/changing/{one.sha256}/{one.filename}"
    assert get(b.port, file)[0] in {200, 302}  # itself, or by a URL of the bucket
    a.change("changing", "delete", version="1.0")
    assert_seen(lambda: not b.shows(one))
    assert get(b.port, file)[0] == 404
    cluster.succeed("yank", "changing", "2.0")
    assert_seen(lambda: b.page("changing")[two.filename]["yanked"] is not False)


def test_change_is_decided_on_the_newest_state(pair: Pair) -> None:
    """A change on one server is decided upon what the other has changed just before."""
    a, b = pair
    made = make_wheel("tossed")
    assert a.post(made) == 200
    assert_seen(partial(b.shows, made))
    for _ in range(ROUNDS):
        a.change("tossed", "yank", version="1.0", reason="bad")
        b.change("tossed", "unyank", version="1.0")
    assert_seen(lambda: a.page("tossed")[made.filename]["yanked"] is False)

    other = make_wheel("tossed", "2.0")
    assert b.post(other) == 200
    a.change("tossed", "delete", version="2.0")  # which has not shown it yet
    assert_seen(lambda: not b.shows(other))
