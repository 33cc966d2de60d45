"""Other systems' files, laid out as those systems do."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.sources.offering import JUNE, WHEEL, body_of, md5, sha256, taken
from wheelyard.errors import Invalid
from wheelyard.sources.candidate import file_time

pytestmark = pytest.mark.integration

JUNE_SECONDS = 1_528_586_805


def test_a_bucket_of_gaepypi_is_known(bucket: Bucket) -> None:
    """GAEPyPI's bucket is known by its layout; names that differ in spelling are both taken."""
    bucket.put(f"packages/a/1/{WHEEL}", b"wheel")
    bucket.put("packages/my_lib/1.0/my_lib-1.0.tar.gz", b"1")
    bucket.put("packages/my-lib/1.1/my-lib-1.1.tar.gz", b"2")

    kind, found = taken("gs://wheels")

    assert kind == "gaepypi"
    assert found.names == [WHEEL, "my-lib-1.1.tar.gz", "my_lib-1.0.tar.gz"]
    assert found[WHEEL].location == f"gs://wheels/packages/a/1/{WHEEL}"
    assert found[WHEEL].uploaded_at is not None


def test_a_copy_of_gaepypi(tmp_path: Path) -> None:
    """A copy on disk is read as the bucket is, from its root or from `packages/` in it."""
    location = tmp_path / "copy" / "packages" / "a" / "1" / WHEEL
    location.parent.mkdir(parents=True)
    location.write_bytes(b"wheel")
    (tmp_path / "copy" / "a-2.tar.gz").write_bytes(b"?")

    at_root = taken(tmp_path / "copy", kind="gaepypi")[1]

    assert at_root.names == [WHEEL]
    assert [each.why for each in at_root.passed_over] == ["it is not at packages/NAME/VERSION/FILE"]
    assert taken(tmp_path / "copy" / "packages", kind="gaepypi")[1].names == [WHEEL]


UNUSABLE = "its .meta cannot be used: "
NO_JSON = f"{UNUSABLE}it is not the JSON that it should be"
BAD_HASH = f"{UNUSABLE}what it says is the sha256 of the file is none"


@pytest.fixture
def meta(server: FakeGcs, bucket: Bucket) -> Bucket:
    """Return the bucket of descriptions, beside one of a package."""
    bucket.put(WHEEL, b"wheel")
    return server.bucket("wheels-meta")


def test_a_bucket_of_backupni_keeps_what_is_said_of_files(meta: Bucket) -> None:
    """Time, uploader and digest of a package come from its .meta."""
    metadata = {
        "filename": WHEEL,
        "hash": f"sha256={sha256(b'wheel')}",
        "uploaded_by": "CI",
        "upload_timestamp": JUNE_SECONDS,
    }
    meta.put(f"{WHEEL}.meta", json.dumps(metadata).encode())

    kind, found = taken("gs://wheels", meta="gs://wheels-meta")

    assert kind == "backupni"
    assert found[WHEEL].hashes == {"md5": md5(b"wheel"), "sha256": sha256(b"wheel")}
    assert (found[WHEEL].uploaded_at, found[WHEEL].uploaded_by) == (JUNE, "CI")
    assert found.passed_over == []


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (None, ""),
        (b"{", NO_JSON),
        (b'{"filename": "\xff"}', NO_JSON),
        (b'{"filename": "b-1.tar.gz"}', f"{UNUSABLE}it describes another file"),
        (json.dumps({"filename": WHEEL, "hash": "sha256=xyz"}).encode(), BAD_HASH),
        (json.dumps({"filename": WHEEL, "upload_timestamp": "soon"}).encode(), ""),
        (b" " * 2_000_000, f"{UNUSABLE}it is larger than 1048576 bytes"),
    ],
)
def test_backupni_that_is_damaged(meta: Bucket, text: bytes | None, warning: str) -> None:
    """A package whose .meta is missing or damaged is offered; a warning says what is wrong."""
    if text is not None:
        meta.put(f"{WHEEL}.meta", text)

    _, found = taken("gs://wheels", meta="gs://wheels-meta")

    assert (found.names, found[WHEEL].warning, found.faults) == ([WHEEL], warning, [])
    assert found[WHEEL].uploaded_at is not None


def test_the_buckets_of_backupni_by_name(server: FakeGcs) -> None:
    """The name of backupni's bucket of packages leads to that of their descriptions."""
    server.bucket("pypi-acme-packages").put(WHEEL, b"wheel")
    metadata = {"filename": WHEEL, "uploaded_by": "CI"}
    server.bucket("pypi-acme-meta").put(f"{WHEEL}.meta", json.dumps(metadata).encode())

    _, found = taken("gs://pypi-acme-packages", kind="backupni")

    assert found[WHEEL].uploaded_by == "CI"


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Return a folder with some packages, in a site."""
    folder = tmp_path / "site" / "pool"
    folder.mkdir(parents=True)
    for name in (WHEEL, "b-1.zip", "c-1.tar.gz"):
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_list_of_dumb_pypi_is_taken_over(pool: Path) -> None:
    """What dumb-pypi's packages.json says of a file is kept; an empty reason is no yank there."""
    lines: list[dict[str, Any]] = [
        {
            "filename": WHEEL,
            "hash": f"sha256={sha256(WHEEL.encode())}",
            "requires_python": ">=3.8",
            "core_metadata": "true",
            "uploaded_by": "asottile",
            "upload_timestamp": JUNE_SECONDS,
            "yanked_reason": "bröken",
        },
        {"filename": "b-1.zip", "yanked_reason": ""},
    ]
    path = pool.parent / "packages.json"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))

    kind, found = taken(path, packages_url="../../pool/")

    assert kind == "dumb-pypi"
    wheel, old = found[WHEEL], found["b-1.zip"]
    assert wheel.hashes == {"sha256": sha256(WHEEL.encode())}
    assert (wheel.uploaded_at, wheel.uploaded_by) == (JUNE, "asottile")
    assert (wheel.yanked, old.yanked) == ("bröken", None)
    assert old.uploaded_at is not None
    assert body_of(old) == b"b-1.zip"


def test_a_list_of_names(pool: Path) -> None:
    """A list of filenames is a list too, with whatever ends its lines."""
    path = pool.parent / "list.txt"
    path.write_bytes(f"{WHEEL}\r\n\n  b-1.zip\nc-1.tar.gz".encode())

    assert taken(path, packages_url=str(pool))[1].names == [WHEEL, "b-1.zip", "c-1.tar.gz"]


def test_a_damaged_list(pool: Path) -> None:
    """A damaged line, and a file that is not there, are faults with the number of the line."""
    path = pool.parent / "list.txt"
    path.write_bytes(
        b"../b-1.zip\n"
        b'{"filename": 7}\n'
        b'{"filename": "b-1.zip", "hash": "sha256=abc"}\n'
        b"\xff.whl\n"
        b"d-1.tar.gz\n"
        b"c-1.tar.gz\n"
    )

    _, found = taken(path, packages_url=str(pool))

    assert found.names == ["c-1.tar.gz"]
    assert [each.location.rpartition(" ")[2] for each in found.faults] == ["1", "2", "3", "4", "5"]


def test_a_list_of_something_else(pool: Path) -> None:
    """A file that is no list at all is refused before it fills the memory."""
    path = pool.parent / "list.json"
    path.write_bytes(b"x" * 3_000_000)

    with pytest.raises(Invalid, match="no list of packages"):
        taken(path, packages_url=str(pool))


@pytest.mark.parametrize("prefix", ["", "pypi/"])
@pytest.mark.parametrize("joint", ["_", "-"])
def test_a_bucket_of_pypicloud_is_known_by_its_hashes(
    bucket: Bucket, prefix: str, joint: str
) -> None:
    """A bucket of pypicloud is known by hashes before names; digests and uploaders are kept."""
    metadata = {"name": "a", "version": "1", "uploader": "ana", "requires-python": ">=3"}
    metadata |= {f"hash{joint}sha256": sha256(b"wheel"), f"hash{joint}md5": md5(b"wheel")}
    bucket.put(f"{prefix}{md5(WHEEL.encode())[:4]}/a/{WHEEL}", b"wheel", metadata=metadata)

    kind, found = taken(f"gs://wheels/{prefix}")

    assert kind == "pypicloud"
    assert found[WHEEL].hashes == {"sha256": sha256(b"wheel"), "md5": md5(b"wheel")}
    assert found[WHEEL].uploaded_by == "ana"


def test_pypicloud_without_a_hash(bucket: Bucket) -> None:
    """A bucket of pypicloud without hashes before the names is known by its objects' metadata."""
    metadata = {"name": "a", "version": "1", "uploader": "ana"}
    bucket.put(f"a/{WHEEL}", b"wheel", metadata=metadata)

    kind, found = taken("gs://wheels")

    assert (kind, found[WHEEL].uploaded_by) == ("pypicloud", "ana")


def test_pypicloud_on_disk(tmp_path: Path) -> None:
    """A folder of pypicloud is known by its .meta files, some of which may lack or be damaged."""
    for name, text in (("a", '{"uploader": "ana", "summary": null}'), ("b", "{"), ("c", None)):
        folder = tmp_path / "data" / name / "1"
        folder.mkdir(parents=True)
        (folder / f"{name}-1.tar.gz").write_bytes(b"sdist")
        if text is not None:
            (folder / f"{name}-1.tar.gz.meta").write_text(text)

    kind, found = taken(tmp_path / "data")

    assert (kind, found["a-1.tar.gz"].uploaded_by) == ("pypicloud", "ana")
    assert found.names == ["a-1.tar.gz", "b-1.tar.gz", "c-1.tar.gz"]
    assert (found.warned, found.faults) == (["b-1.tar.gz"], [])


@pytest.mark.parametrize("kind", ["dumb-pypi", "pypicloud", "backupni", "devpi"])
def test_json_without_bottom(tmp_path: Path, kind: str) -> None:
    """JSON that is nested without end costs what it describes, and the rest is read."""
    deep = '{"x":' + "[" * 100_000
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a-1.zip", "b-1.zip"):
        (data / name).write_bytes(b"x")
    (data / "a-1.zip.meta").write_text(deep)
    (data / "dataindex.json").write_text(deep)
    (data / "list.json").write_text(f"{deep}\nb-1.zip\n")

    if kind == "devpi":
        with pytest.raises(Invalid, match="cannot be read"):
            taken(data, kind=kind)
        return
    text = data / "list.json" if kind == "dumb-pypi" else data
    option = {"dumb-pypi": "packages_url", "backupni": "meta"}.get(kind)
    _, found = taken(text, kind=kind, **({option: str(data)} if option else {}))

    assert "b-1.zip" in found.names
    assert len(found.faults) + len(found.warned) == 1


def test_dates_that_no_calendar_has() -> None:
    """A file system's date beyond the last year is not known."""
    assert file_time(2**60) is None
    assert file_time(JUNE_SECONDS) == JUNE


def test_a_name_of_any_bytes(tmp_path: Path) -> None:
    """A folder whose only file has a name that is no text is looked at all the same."""
    (tmp_path / "data").mkdir()
    Path(os.fsdecode(bytes(tmp_path / "data") + b"/\xff-1.0.tar.gz")).touch()

    assert taken(tmp_path / "data")[0] == "files"
