"""Files and their core metadata: whole, in part, unchanged, and no longer there."""

import gzip
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import Distribution, make_sdist, make_wheel
from tests.fake_store import Before, FakeStore
from tests.fake_time import Clock
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.packages import publish
from tests.http.raw_client import raw_connection
from tests.http.remote_store import RemoteStore
from tests.http.servers import RunningServer
from tests.operations.in_memory_index import ALICE
from tests.waiting import until
from wheelyard.errors import Unavailable
from wheelyard.http.file_delivery import SMALL_FILE_BYTES, FileDelivery
from wheelyard.operations.lifecycle import Selection
from wheelyard.storage.memory import MemoryStore

V1_JSON = "application/vnd.pypi.simple.v1+json"
DEMO = make_wheel("ranges", content=bytes(range(256)) * 40)
SIZE = len(DEMO.body)
PATH = f"/files/ranges/{DEMO.sha256}/{DEMO.filename}"


@pytest.fixture(scope="module")
def app(stocked_app: InProcessServer) -> InProcessServer:
    """The application with a wheel of some ten thousand bytes, and an sdist."""
    stocked_app.publish(DEMO, make_sdist("ranges"))
    return stocked_app


def test_file_comes_as_it_was_sent(app: InProcessServer) -> None:
    """A file comes as it was sent, may be kept for ever, and is nothing that a browser runs."""
    answer = app.raw(f"GET {PATH}", "Accept-Encoding: gzip, deflate, zstd", "Accept: text/html")

    assert (answer.status, answer.body) == (200, DEMO.body)
    assert answer.header("etag") == f'"{hashlib.sha256(answer.body).hexdigest()}"'
    assert answer.header("cache-control") == "public, max-age=31536000, immutable"
    assert answer.header("content-type") == "application/octet-stream"
    assert answer.header("accept-ranges") == "bytes"
    assert answer.header("content-security-policy").startswith("sandbox")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("size", "body_type"), [(0, bytes), (SMALL_FILE_BYTES, Path)], ids=["small", "large"]
)
def test_large_files_are_not_read_into_memory(
    app: InProcessServer, size: int, body_type: type
) -> None:
    """A small file is sent at once, and the web server sends a large one by its path."""
    name = NormalizedName(f"of-{size}")
    app.publish(make_wheel(name, content=Random(1).randbytes(size)))
    (file,) = app.index.projects.get(name).files

    body = FileDelivery(app.index).open_body(name, file, None)

    assert isinstance(body, body_type)


def test_core_metadata_is_that_of_the_wheel(app: InProcessServer) -> None:
    """`.metadata` is the wheel's METADATA byte for byte, with the digest that the page names."""
    (file,) = (
        file
        for file in app.get("/simple/ranges/", ("Accept", V1_JSON)).json()["files"]
        if file["filename"] == DEMO.filename
    )
    answer = app.raw(f"GET {PATH}.metadata", "Accept-Encoding: identity")

    assert answer.body == DEMO.metadata
    assert file["core-metadata"] == {"sha256": hashlib.sha256(answer.body).hexdigest()}
    assert answer.header("vary") == "Accept-Encoding"
    assert answer.header("cache-control") == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_core_metadata_is_sent_compressed(app: InProcessServer, method: str) -> None:
    """Core metadata of a usual length is sent compressed."""
    package = make_wheel("described", "1.0", *(f"Classifier: Topic {n}" for n in range(99)))
    app.publish(package)
    path = f"/packages/{package.filename}.metadata"
    etags = set()
    for encoding in ("gzip", "identity"):
        answer = app.get(path, ("Accept-Encoding", encoding), method=method)
        assert answer.headers.get("content-encoding", "identity") == encoding
        if method == "GET":
            unpack = gzip.decompress if encoding == "gzip" else bytes
            assert unpack(answer.body) == package.metadata
        is_shorter = int(answer.headers["content-length"]) < len(package.metadata) // 2
        assert is_shorter == (encoding != "identity")
        etags.add(answer.headers["etag"])
    assert len(etags) == 2


def test_sdist_has_no_core_metadata(app: InProcessServer) -> None:
    """An sdist's metadata may change when it is built, so none is served or promised."""
    files = app.get("/simple/ranges/", ("Accept", V1_JSON)).json()["files"]
    (file,) = (file for file in files if file["filename"] == "ranges-1.0.tar.gz")

    assert file["core-metadata"] is False
    path = file["url"].removeprefix("../..")
    assert app.get(path).status == 200
    assert app.get(f"{path}.metadata").status == 404


def spellings(package: Distribution, name: str) -> Iterator[str]:
    """Every path that a file could be asked for by."""
    filename, sha256 = package.filename, package.sha256
    for suffix in ("", ".metadata"):
        yield f"/files/{name}/{sha256}/{filename}{suffix}"
        yield f"/files/{name}/{filename}{suffix}"
        yield f"/files//{name}/{sha256}/{filename}{suffix}"
        yield f"/files/{name}/{sha256}/{filename.replace('-', '%2D')}{suffix}"
        for root in ("simple", "pypi", "pypi/simple", "acme", "legacy"):
            yield f"/{root}/files/{name}/{sha256}/{filename}{suffix}"
        for old in ("packages", f"packages/{name}/1.0", "packages/source", "raw"):
            yield f"/{old}/{filename}{suffix}"


@pytest.mark.parametrize("fate", ["deleted", "quarantined"])
def test_withdrawn_file_has_no_address(app: InProcessServer, fate: str) -> None:
    """A deleted file, or one of a quarantined project, is served under no address at all."""
    package = make_wheel(fate)
    app.publish(package)
    paths = list(spellings(package, fate))
    before = {path: app.get(path).status for path in paths}
    assert set(before.values()) == {200}

    if fate == "deleted":
        app.change(fate, "delete", version="1.0")
    else:
        app.change(fate, "status", status="quarantined")

    etag = f'"{package.sha256}"'
    for path in paths:
        for conditional in ({}, {"If-None-Match": etag}, {"Range": "bytes=0-3"}):
            assert app.get(path, *conditional.items()).status == 404, path
        assert app.get(path, method="HEAD").status == 404
    if fate == "quarantined":
        app.change(fate, "status", status="active")
        assert app.get(paths[0]).body == package.body


def test_yanked_file_is_still_there(app: InProcessServer) -> None:
    """A yanked file can still be downloaded (PEP 592)."""
    package = make_wheel("yanked")
    app.publish(package)
    app.change("yanked", "yank", version="1.0", reason="broken")
    assert app.get(f"/packages/{package.filename}").body == package.body


def test_lost_bytes_are_no_missing_package(app: InProcessServer) -> None:
    """Where the store has lost a listed file, clients are told to fail, not to look elsewhere."""
    app.publish(make_wheel("lost"))
    for kept in app.folder.glob("store/files/lost/*/*"):
        kept.unlink()
    addresses = [f"/packages/lost-1.0-py3-none-any.whl{suffix}" for suffix in ("", ".metadata")]
    for path in (*addresses, "/pypi/lost/json", "/project/lost/"):
        for headers in ({}, {"Range": "bytes=0-3"}):
            answer = app.get(path, *headers.items())
            assert answer.status == 503, path
            assert "retry-after" not in answer.headers  # waiting does not bring it back
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("at", ["", "below"])
def test_linked_folder_is_not_served(app: InProcessServer, tmp_path: Path, at: str) -> None:
    """Where a folder of the store is a link, nothing behind it is sent, whole or in part."""
    package = make_wheel(f"linked{at}")
    app.publish(package)
    folder = (
        app.folder
        / "store"
        / "files"
        / package.filename.split("-")[0]
        / (package.sha256 if at else "")
    )
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    for suffix in ("", ".metadata"):
        for headers in ({}, {"Range": "bytes=0-3"}):
            answer = app.get(f"/packages/{package.filename}{suffix}", *headers.items())
            assert (answer.status, answer.json()["error"]) == (503, "storage_unavailable")
            assert "lost" not in answer.json()["message"]
    folder.unlink()
    (tmp_path / "moved").rename(folder)
    assert app.get(f"/packages/{package.filename}").body == package.body


@pytest.mark.parametrize("suffix", ["", ".metadata"])
def test_changed_bytes_are_not_served(app: InProcessServer, suffix: str) -> None:
    """A file that was cut short, or metadata with other bytes, is lost: no part of it is sent."""
    package = make_wheel(f"changed{suffix[1:]}", content=bytes(5000))
    app.publish(package)
    (kept,) = app.folder.glob(f"store/files/{package.filename.split('-')[0]}/*/*.whl{suffix}")
    kept.write_bytes(kept.read_bytes()[:-100] if not suffix else package.metadata[:-1] + b"!")
    for headers in ({}, {"Range": "bytes=0-3"}, {"Range": f"bytes={len(package.body) - 50}-"}):
        if suffix and len(headers.get("Range", "")) > 10:
            continue
        answer = app.get(f"/packages/{package.filename}{suffix}", *headers.items())
        assert (answer.status, answer.json()["error"]) == (503, "damaged_document")


def test_file_deleted_during_a_request_is_not_found(tmp_path: Path) -> None:
    """A file that is deleted during a request is 404, not a storage error."""
    package, name, release = make_wheel("hasty"), NormalizedName("hasty"), Selection(Version("1.0"))
    memory = MemoryStore(Clock().seconds)
    store = FakeStore(memory)
    with in_process(tmp_path, store=store) as server:
        server.publish(package)
        assert server.get("/simple/hasty/").status == 200
        (core_metadata,) = [
            entry.key for entry in memory.list("files/") if entry.key.endswith(".metadata")
        ]

        def delete() -> None:
            server.index.lifecycle.change("delete", ALICE, name, release, "")
            memory.delete(core_metadata)

        store.follow(Before(delete, "get", "*.metadata"))
        answer = server.get(f"/packages/{package.filename}.metadata")
    assert (answer.status, json.loads(answer.body)["error"]) == (404, "not_found")


def damaged_download(folder: Path, package: Distribution) -> InProcessResponse:
    """Return what is answered to who downloads a file whose last bit the bucket has changed."""
    store = MemoryStore(Clock().seconds)
    with in_process(folder, store=store) as server:
        server.publish(package)
        (key,) = [entry.key for entry in store.list("files/") if entry.key.endswith(".whl")]
        store.put_file(key, package.body[:-1] + bytes([package.body[-1] ^ 1]))
        return server.get(f"/packages/{package.filename}")


def test_damaged_download_is_refused(tmp_path: Path) -> None:
    """A small file that comes damaged from a bucket is not sent."""
    answer = damaged_download(tmp_path, make_wheel("flipped"))

    assert (answer.status, json.loads(answer.body)["error"]) == (503, "damaged_document")


def test_damaged_download_does_not_look_whole(tmp_path: Path) -> None:
    """A large file that comes damaged from a bucket breaks off before its end."""
    package = make_wheel("flipped", content=bytes(1 << 20))

    assert len(damaged_download(tmp_path, package).body) < len(package.body)


def test_file_is_unavailable_while_the_store_is(tmp_path: Path) -> None:
    """Where the store itself does not answer, there is no other way to a file."""
    store = RemoteStore(fault=Unavailable("The bucket does not answer."))
    with in_process(tmp_path, store=store) as server:
        server.publish(DEMO)
        answer = server.get(PATH)
    assert (answer.status, answer.json()["error"]) == (503, "storage_unavailable")
    assert store.asked("read") == 0


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="there is no /proc here")
@pytest.mark.integration
def test_nothing_is_read_for_a_client_that_is_gone(server: RunningServer) -> None:
    """A download in part ends on this side, too, soon after the client has hung up."""
    big = make_wheel("resumed", content=bytes(96 << 20))
    publish(server, big)
    before = bytes_read(server)
    with raw_connection(server) as line:
        line.ask(f"GET /packages/{big.filename} HTTP/1.1", "Range: bytes=5-")
        line.connection.recv(1000)
    until(lambda: not is_open(server, big.filename))
    # some is read before the server, which others may keep waiting, sees who is gone
    assert bytes_read(server) - before < 72 << 20


@pytest.mark.integration
def test_part_that_breaks_off_does_not_look_complete(server: RunningServer) -> None:
    """Where a file gets shorter while it is sent, the connection ends and no answer does."""
    big = make_wheel("shrinking", content=bytes(48 << 20))
    publish(server, big)
    (kept,) = server.store.glob("files/shrinking/*/*.whl")
    with raw_connection(server) as line:
        line.ask(f"GET /packages/{big.filename} HTTP/1.1", "Range: bytes=5-")
        # it has begun to send, and the network does not take all of it
        assert line.connection.recv(1, socket.MSG_PEEK)
        os.truncate(kept, 1 << 20)
        answer = line.reply()
        assert answer is not None
        assert 0 < len(answer.body) < len(big.body) - 5
        assert line.is_closed()
    assert "a download broke off" in server.log


def is_open(server: RunningServer, filename: str) -> bool:
    """Return whether the server has a file open."""
    opened = list[str]()
    for each in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.append(str(each.readlink()))
    return any(path.endswith(filename) for path in opened)


def bytes_read(server: RunningServer) -> int:
    """Return how many bytes the server has read from anywhere."""
    return int(Path(f"/proc/{server.pid}/io").read_text().partition("rchar:")[2].split()[0])
