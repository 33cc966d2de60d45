"""Downloads from an index in a bucket: redirects, and trouble on the way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bucket_clients.bucket_server import (
    BucketIndex,
    as_account,
    as_machine,
    asking,
    is_whole,
    path_of,
    publish,
    running_bucket_index,
    send_request,
)
from tests.clients.harness import Sandbox, program, system_program
from tests.distributions import make_wheel
from tests.fake_gcs.faults import CutAt, Slow
from tests.fake_gcs.server import FakeGcs
from tests.ports import free_port

FILES = "*/files/*"
LARGE = make_wheel("yard-large", "1.0+cpu.1", content=bytes(range(256)) * 65_536)
"""Of 16 MiB: more than sockets and buffers take in on the way."""
SMALL = make_wheel("yard-small", "1!1.0")
HARD = make_wheel("yard-hard", "1!2.0+cpu.1", content=bytes(range(256)) * 8192)


@pytest.fixture(scope="module")
def index(cloud: FakeGcs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketIndex]:
    """Yield a private index that redirects to signed URLs, with one package."""
    folder = tmp_path_factory.mktemp("redirect")
    cloud.permissions.token_required = True
    with running_bucket_index(folder, cloud, as_account(cloud, folder), "--private") as running:
        publish(running, HARD)
        yield running


@pytest.fixture(scope="module")
def proxy(cloud: FakeGcs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketIndex]:
    """Yield a private index that sends files itself, with a large package and a small one."""
    folder = tmp_path_factory.mktemp("proxy")
    environment = as_account(cloud, folder) | {"WHEELYARD_STORE_DOWNLOADS": "proxy"}
    with running_bucket_index(folder / "index", cloud, environment, "--private") as running:
        publish(running, LARGE, SMALL)
        yield running


@pytest.mark.clients
def test_pip_fetches_nothing_again_that_is_in_its_cache(
    index: BucketIndex, sandbox: Sandbox
) -> None:
    """What pip has in its cache it does not fetch from the bucket again."""
    index.cloud.log.clear()
    for name in ("once", "twice"):
        sandbox.run(
            *(program("pip"), "download", "--no-deps", "--dest", name),
            *("--trusted-host", "localhost", "--trusted-host", "127.0.0.1"),  # else no cache
            *("--index-url", index.server.index_url, "yard-hard"),
        )

    downloaded = [(sandbox.folder / name / HARD.filename) for name in ("once", "twice")]
    assert [each.read_bytes() == HARD.body for each in downloaded] == [True, True]
    statuses = [each.status for each in index.cloud.log.records("signed")]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 304}


@pytest.mark.clients
def test_curl_goes_on(index: BucketIndex, sandbox: Sandbox) -> None:
    """`curl -L -C -` goes on with half a file where it ends, with a token from `~/.netrc`."""
    curl = system_program("curl")
    (sandbox.home / ".netrc").write_text(
        f"machine localhost login x password {index.server.token}\n"
    )
    target = sandbox.folder / "target"
    target.write_bytes(HARD.body[:100_000])
    index.cloud.log.clear()

    url = f"{index.server.url}{path_of(index, HARD)}"
    sandbox.run(curl, "--silent", "--fail", "--location", "--netrc", "-C", "-", "-o", target, url)

    assert target.read_bytes() == HARD.body
    assert [each.status for each in index.cloud.log.records("signed")] == [206]
    assert not any(each.authorization for each in index.cloud.log.records("signed"))


def test_files_go_through_the_index_where_nothing_signs(cloud: FakeGcs, tmp_path: Path) -> None:
    """Where nothing can sign, files go through the index at once, and the log says so once."""
    nowhere = f"127.0.0.1:{free_port()}"
    environment = as_machine(cloud, nowhere)
    with running_bucket_index(tmp_path / "index", cloud, environment, "--private") as index:
        publish(index, HARD)
        path = path_of(index, HARD)

        answers = [send_request(index, path) for _ in range(5)]

        assert all(is_whole(each, HARD) for each in answers)
        assert index.log.count("downloads go through the index itself") == 1
        assert index.log.count("every download goes through here") == 1


@pytest.mark.parametrize("slow", ["client", "bucket"])
def test_slow_downloads_block_no_other_client(proxy: BucketIndex, slow: str) -> None:
    """Broken downloads from the bucket are resumed; slow downloads do not block other clients."""
    index, cloud = proxy, proxy.cloud
    path, small = path_of(index, LARGE), path_of(index, SMALL)
    with ExitStack() as stack, ThreadPoolExecutor(40) as pool:
        cloud.faults.add(CutAt(len(LARGE.body) // 2), "media", FILES)
        stack.callback(cloud.faults.clear)
        assert is_whole(send_request(index, path), LARGE)
        if slow == "bucket":
            cloud.faults.add(Slow(400_000), "media", "*/yard-large/*", count=1000)
        under_way = list(pool.map(stack.enter_context, [asking(index, path) for _ in range(40)]))
        if slow == "client":
            for each in under_way:
                next(each.iter_raw(1 << 18))
        # with as many under way as there are threads, these would wait for 40 seconds
        for number in range(5):
            assert send_request(index, "/simple/yard-small/").status_code == 200
            assert send_request(index, f"/simple/never-{slow}-{number}/").status_code == 404
            assert is_whole(send_request(index, small), SMALL)
