"""The cost of a request in billed operations, counted by the bucket."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from math import ceil
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.distributions import make_wheel
from tests.fake_gcs.log import Record, RequestLog
from tests.fake_gcs.server import FakeGcs, running_fake_gcs
from tests.instances.bucket_cluster import BucketCluster, Instance, cluster_at
from tests.waiting import until

pytestmark = pytest.mark.slow

CLIENTS = 20
LOOKS = 2
"""The most requests for one object while it is cached."""
FRESHNESS = 1.0
"""Seconds that a document is cached."""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeGcs]:
    """A bucket."""
    with running_fake_gcs("wheels") as server:
        yield server


@pytest.fixture(scope="module")
def cluster(server: FakeGcs, tmp_path_factory: pytest.TempPathFactory) -> BucketCluster:
    """A store with a project, in the bucket."""
    cluster = cluster_at(server, tmp_path_factory.mktemp("index"))
    assert cluster.run("upload", *cluster.written(make_wheel())).returncode == 0
    return cluster


@pytest.fixture(scope="module")
def token(cluster: BucketCluster) -> str:
    """A token for the store."""
    return cluster.make_token()


@pytest.fixture(scope="module")
def patient_server(cluster: BucketCluster, token: str) -> Iterator[Instance]:
    """A server that caches documents for a minute."""
    config = cluster.folder / "patient.toml"
    config.write_text("[store]\nfreshness = 60\n")
    with cluster.serving(token, "--config", str(config)) as instance:
        yield instance


@pytest.fixture(scope="module")
def hasty_server(cluster: BucketCluster, token: str) -> Iterator[Instance]:
    """A server that caches documents for a second."""
    with cluster.serving(token) as instance:
        yield instance


@pytest.fixture
def log(server: FakeGcs) -> RequestLog:
    """The log of the bucket's requests."""
    server.log.clear()
    return server.log


def crowd(log: RequestLog, ask: Callable[[int], object]) -> float:
    """Let many clients ask until the bucket is asked again; return how many seconds that took."""
    numbers = count()

    def one(_: int) -> None:
        def is_asked_again() -> bool:
            ask(next(numbers))
            return (
                max(Counter(record.name for record in log.records()).values(), default=0) >= LOOKS
            )

        until(is_asked_again)

    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, range(CLIENTS)))
    return time.monotonic() - began


def checks(seconds: float) -> int:
    """Return how often something may be looked at in so many seconds."""
    return ceil(seconds / FRESHNESS) + 1


@pytest.mark.parametrize("name", ["demo", "begun"])
def test_first_upload_costs_six(
    cluster: BucketCluster, token: str, log: RequestLog, name: str
) -> None:
    """The first upload that a server gets costs six class A, and seven begin a project."""
    with cluster.serving(token) as instance:
        log.clear()
        assert instance.post(make_wheel(name, "2.0")) == 200

        assert log.count("A") <= (6 if name == "demo" else 7)


def test_further_uploads_cost_six(hasty_server: Instance, log: RequestLog) -> None:
    """Each further upload costs six class A; a new project seven."""
    assert hasty_server.post(make_wheel("warm")) == 200
    log.clear()
    assert hasty_server.post(make_wheel("warm", "2.0")) == 200
    assert log.count("A") <= 6
    log.clear()
    assert hasty_server.post(make_wheel("warmer")) == 200
    assert log.count("A") <= 7


def test_cached_pages_cost_nothing(patient_server: Instance, log: RequestLog) -> None:
    """What is at hand costs nothing, but for one look a second at the changes in lists."""
    listed = patient_server.page("demo").values()
    (file,) = (each for each in listed if each["filename"] == make_wheel().filename)
    url = urljoin("/simple/demo/", file["url"])
    pages = ("/simple/demo/", "/simple/", "/project/demo/", "/")

    def ask_for_everything() -> None:
        for path in (*pages, f"{url}.metadata"):
            for method in ("GET", "HEAD"):
                for accept in ("text/html", "application/vnd.pypi.simple.v1+json"):
                    assert patient_server.ask(method, path, Accept=accept)[0] == 200
        assert patient_server.ask("HEAD", url)[0] == 200

    ask_for_everything()
    log.clear()
    began = time.monotonic()
    ask_for_everything()

    looked_at = Counter(record.name for record in log.records())
    assert looked_at.keys() <= {"pending/", "changes.json"}
    assert max(looked_at.values(), default=0) <= checks(time.monotonic() - began)


def test_a_page_with_a_serial_costs_one_look(patient_server: Instance, log: RequestLog) -> None:
    """PyPI's JSON of a project has its newest serial, of any server, for one conditional read."""
    assert patient_server.ask("GET", "/pypi/demo/json")[0] == 200
    log.clear()
    assert patient_server.ask("GET", "/pypi/demo/json")[0] == 200

    assert [(record.name, record.status) for record in log.records()] == [("changes.json", 304)]


def test_hot_project_costs_one_look_a_second(hasty_server: Instance, log: RequestLog) -> None:
    """Twenty clients of one project cost one look a second at each object, as one would."""
    seconds = crowd(log, lambda _: hasty_server.page("demo"))

    assert log.count("A") == 0
    assert set(log.kinds()) == {"media"}
    looked_at = {"projects/demo.json", "projects.json", "index-list.json"}
    assert {record.name for record in log.records()} <= looked_at
    for name in looked_at:
        assert log.count("B", name=name) <= checks(seconds)


def test_unknown_names_cost_one_read_a_second(hasty_server: Instance, log: RequestLog) -> None:
    """Any number of unknown names cost one read a second of the name list and of the indexes."""
    seconds = crowd(log, lambda number: hasty_server.page(f"nobody-has-{number}"))

    assert {each.name for each in log.records()} == {"projects.json", "index-list.json"}
    for name in ("projects.json", "index-list.json"):
        assert 0 < log.count("B", name=name) <= checks(seconds)


def test_busy_token_is_read_once(
    hasty_server: Instance, cluster: BucketCluster, log: RequestLog
) -> None:
    """A token that is used a hundred times in a few seconds is read once."""
    token = cluster.make_token("read")
    log.clear()
    began = time.monotonic()

    for _ in range(100):
        assert hasty_server.ask("GET", "/simple/demo/", Authorization=f"Bearer {token}")[0] == 200

    windows = int((time.monotonic() - began) / 15) + 1
    assert 0 < log.count(name="credentials/tokens/*") <= windows


def test_metrics_count_what_the_bucket_counts(tmp_path: Path) -> None:
    """`/metrics` tells of a server what the bucket itself has counted, class by class."""
    both = list[tuple[Mapping[tuple[str, str], int], list[Record]]]()
    # A bucket of its own: the servers of other tests here ask theirs in the background.
    with running_fake_gcs("wheels") as server:
        cluster = cluster_at(server, tmp_path)
        token = cluster.make_token()
        server.log.clear()
        with cluster.serving(token) as instance:
            made = make_wheel("metered")
            assert instance.post(made) == 200
            assert instance.post(make_wheel("metered", "2.0")) == 200
            path = f"/files/metered/{made.sha256}/{made.filename}"
            assert instance.ask("GET", path)[0] == 200
            instance.change("metered", "yank", version="2.0")
            instance.change("metered", "delete", version="1.0")
            assert instance.page("nobody") == {}

            def is_counted() -> bool:
                both.append((instance.operations(), server.log.records()))
                return sum(both[-1][0].values()) == len(both[-1][1])

            # when a token was used is looked up in the background, at any time
            until(is_counted, lambda: str(both[-1]))

    counted, records = both[-1]
    kinds, prices = (Counter(getattr(record, of) for record in records) for of in ("kind", "price"))
    assert counted["A", "insert"] == kinds["insert"]
    assert counted["A", "list"] == kinds["list"]
    assert counted.get(("free", "delete"), 0) == kinds["delete"]
    for price in ("A", "B", "free"):
        total = sum(count for (each, _), count in counted.items() if each == price)
        assert total == prices[price]
