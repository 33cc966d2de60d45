"""Many processes write at once to a bucket that takes few writes a second of each object."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from tests.distributions import Distribution, make_wheel
from tests.fake_gcs.faults import DropAfter, DropBefore, Fault, ResetAt, StatusAfter, StatusBefore
from tests.fake_gcs.objects import Bucket
from tests.instances.bucket_cluster import BucketCluster, assert_dense, data_of
from tests.services.service import BucketView, Service

pytestmark = pytest.mark.slow

PROCESSES = 3
UPLOADS = 24
"""By each process."""
"""Of each server."""

WRITE_FAULTS: tuple[Fault, ...] = (
    StatusBefore(429, retry_after="1"),
    StatusBefore(503),
    StatusAfter(503),
    DropBefore(),
    DropAfter(),
)
READ_FAULTS: tuple[Fault, ...] = (StatusBefore(429), StatusBefore(503), DropBefore(), ResetAt(20))


@pytest.fixture(autouse=True)
def _limited(bucket: BucketView) -> None:
    """Give a bucket of Google's a limit, that of the service made shorter."""
    if isinstance(bucket, Bucket):
        bucket.write_interval = 0.4


def releases(process: int, count: int) -> list[Distribution]:
    """Return the releases of one process for the shared project."""
    return [make_wheel(version=f"{process}.{number}") for number in range(count)]


def upload_all(cluster: BucketCluster, *shares: list[Distribution]) -> None:
    """Upload each share by a command of its own, all at once; none may be refused anything."""
    commands = [cluster.begin("upload", *cluster.written(*share)) for share in shares]
    ends = [command.finish() for command in commands]
    messages = [end.stderr for end in ends]
    assert [end.returncode for end in ends] == [0] * len(ends), "\n".join(messages)
    assert [len(end.stdout.splitlines()) for end in ends] == [len(share) for share in shares]


def assert_clean(cluster: BucketCluster) -> None:
    """Expect that a check finds nothing at all, and that every journal folds to its document."""
    findings = cluster.check("--rebuild")
    assert (findings["notes"], findings["mended"]) == ([], [])


def names_in(bucket: BucketView) -> list[str]:
    """Return the name list."""
    names: list[str] = json.loads(data_of(bucket, "projects.json"))["names"]
    return names


def test_parallel_commands_lose_nothing(bucket: BucketView, cluster: BucketCluster) -> None:
    """Commands with wheels for one project of all, and each with new ones beside, lose none."""
    shared = [releases(process, UPLOADS) for process in range(PROCESSES)]
    new = [
        [make_wheel(f"new{process}x{number}") for number in range(UPLOADS)]
        for process in range(PROCESSES)
    ]

    upload_all(cluster, *(of_all + own for of_all, own in zip(shared, new, strict=True)))

    assert cluster.listed("demo") == {made.filename for share in shared for made in share}
    names = {made.filename.partition("-")[0] for share in new for made in share}
    assert names_in(bucket) == sorted({"demo", *names})
    assert assert_dense(bucket, "demo") < PROCESSES * UPLOADS / 4  # they share commits
    for name in names:
        assert assert_dense(bucket, name) == 1
    assert_clean(cluster)


def test_parallel_projects_share_only_the_name_list(
    service: Service, bucket: BucketView, cluster: BucketCluster
) -> None:
    """Projects published at once by two servers share no object, but for the list of names."""
    made = [make_wheel(f"new{number}") for number in range(60)]
    with cluster.serving_twice() as instances, ThreadPoolExecutor(len(made)) as pool:
        service.log.clear()
        answers = pool.map(lambda number: instances[number % 2].post(made[number]), range(60))
        assert set(answers) == {200}

    writes = service.log.records("insert")
    refused = {write.name for write in writes if write.status == 429}
    assert refused <= {"projects.json"}
    written = Counter(each.name for each in writes if each.status in {200, 201})
    repeated = {name for name, count in written.items() if count > 1}
    assert {name for name in repeated if not name.startswith("probe-")} <= {"projects.json"}
    assert len(bucket.names("pending/")) == sum(name.startswith("pending/") for name in written)
    assert len(bucket.names("pending/")) == len(made)


def test_faults_lose_nothing(service: Service, bucket: BucketView, cluster: BucketCluster) -> None:
    """With answers that are lost, late or refused in between, nothing is lost or listed twice."""
    random = Random(3)
    for _ in range(30):
        write, read = random.choice(WRITE_FAULTS), random.choice(READ_FAULTS)
        service.faults.add(write, "insert", skip=random.randrange(150))
        service.faults.add(write, "insert", "projects*", skip=random.randrange(20))
        service.faults.add(read, "media", skip=random.randrange(200))
    shares = [releases(process, 12) for process in range(PROCESSES)]

    upload_all(cluster, *shares)

    service.faults.clear()
    assert cluster.listed("demo") == {made.filename for share in shares for made in share}
    uploaded = [
        filename
        for name in bucket.names("journal/demo/")
        for event in json.loads(data_of(bucket, name))["events"]
        for filename in event["files"]
    ]
    assert len(uploaded) == len(set(uploaded)) == PROCESSES * 12
    assert_dense(bucket, "demo")
    assert_clean(cluster)
