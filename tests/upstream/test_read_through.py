"""Public files as many clients read them while they are fetched, and afterwards."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest

from tests.durability.serving import server, start
from tests.http.servers import RunningServer
from tests.plain_http import LOCALLY
from tests.upstream.fake_pages import JSON, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import link_of, look, page_of
from tests.upstream.settings import serving, upstream_settings
from tests.waiting import until

pytestmark = pytest.mark.integration

LARGE = public_wheel("large", "1.0", content=b"x" * 3_000_000)
READERS = 50


def read(index: RunningServer, path: str) -> bytes:
    """Read a file on a connection of its own."""
    answer = index.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_many_first_readers(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Fifty clients that are the first to want a page, and then a file, cost one request each."""
    upstream.publish(LARGE)
    gate, half = upstream.hold("large"), upstream.hold_files("large")
    with serving(tmp_path, upstream) as index, ThreadPoolExecutor(READERS) as pool:
        pages = [pool.submit(page_of, index, "large") for _ in range(READERS)]
        until(lambda: index.under_way() >= READERS)
        gate.set()
        assert {page.result().status for page in pages} == {200}
        path = link_of(index, "large", LARGE.filename)
        files = [pool.submit(read, index, path) for _ in range(READERS)]
        until(lambda: index.under_way() >= READERS)
        half.set()
        assert {file.result() for file in files} == {LARGE.body}

    assert len(upstream.asked_pages("large")) == 1
    assert len(upstream.asked_files("large")) == 1


def test_digests_of_the_upstream_are_passed_on(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A first lock has the digest that the upstream states, and a later one the SHA-256, too."""
    upstream.publish(LARGE)
    upstream.behave("large", Fault.MD5_ONLY)
    stated = {"md5": md5(LARGE.body, usedforsecurity=False).hexdigest()}
    with serving(tmp_path, upstream) as index:
        assert page_of(index, "large").files[LARGE.filename]["hashes"] == stated
        assert read(index, link_of(index, "large", LARGE.filename)) == LARGE.body
        known = {"sha256": LARGE.sha256} | stated
        until(lambda: page_of(index, "large").files[LARGE.filename]["hashes"] == known)


def test_a_client_gets_the_first_bytes_while_a_file_is_fetched(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A client gets the first bytes of a file while it is fetched; leaving does not stop that."""
    upstream.publish(LARGE)
    gate = upstream.hold_files("large")
    with serving(tmp_path, upstream) as index:
        path = link_of(index, "large", LARGE.filename)
        with index.client.stream("GET", path) as early:
            assert early.headers["content-length"] == str(len(LARGE.body))
            with index.client.stream("GET", path) as late:
                first = next(early.iter_raw())
                early.close()
                gate.set()
                assert b"".join(late.iter_raw()) == LARGE.body
        assert LARGE.body.startswith(first)
        assert read(index, path) == LARGE.body

    assert len(upstream.asked_files("large")) == 1


def test_a_range_of_a_file_that_is_new(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Of a file that is not kept yet, a client gets the range that it asked for, or all of it."""
    upstream.publish(LARGE)
    with serving(tmp_path, upstream) as index:
        path = link_of(index, "large", LARGE.filename)
        answer = look(index, path, range="bytes=100-199")

    assert (answer.status, answer.body) in {(200, LARGE.body), (206, LARGE.body[100:200])}


def test_nothing_is_kept(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Where the operator wants that, files are only passed on, and fetched for each client."""
    upstream.publish(LARGE)
    with serving(tmp_path, upstream, files="proxy") as index:
        path = link_of(index, "large", LARGE.filename)
        answers = [index.client.get(path) for _ in range(2)]

    assert {answer.content for answer in answers} == {LARGE.body}
    assert len(upstream.asked_files("large")) == 2


def test_a_killed_server_leaves_nothing_that_is_served(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """A server that is killed while it fetches a file leaves nothing of it that is served."""
    upstream.publish(LARGE)
    gate = upstream.hold_files("large")
    config, log, store = (tmp_path / name for name in ("wheelyard.toml", "log.txt", "store"))
    config.write_text(upstream_settings(upstream))
    running = start(store, log, "--config", str(config))
    with httpx2.Client(base_url=f"http://127.0.0.1:{running.port}", **LOCALLY) as client:
        (file,) = client.get("/simple/large/", headers={"accept": JSON}).json()["files"]
        path = urljoin("/simple/large/", file["url"])
        with client.stream("GET", path) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            running.kill()
            with pytest.raises(httpx2.TransportError):
                list(pieces)
    gate.set()

    with (
        server(store, log, "--config", str(config)) as running,
        httpx2.Client(base_url=f"http://127.0.0.1:{running.port}", **LOCALLY) as client,
    ):
        again = client.get(path)

    assert again.content == LARGE.body
    assert len(upstream.asked_files("large")) == 2
