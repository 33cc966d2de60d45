"""Files in folders and buckets, and what a place knows of them."""

import json
from pathlib import Path

import pytest

from tests.fake_gcs.faults import CutAt, DropBefore, StatusBefore
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.fake_time import Clock
from tests.sources.offering import body_of, md5, offered, opened, taken
from wheelyard.errors import Invalid

pytestmark = pytest.mark.integration

WHEEL = "a-1-py3-none-any.whl"
SDIST = "a-1.tar.gz"
"""Two filenames; a source never looks into a file."""


def test_a_bucket_of_files(bucket: Bucket) -> None:
    """Files in a bucket are offered from any folder, and what a site has beside them is not."""
    bucket.put(f"raw/{WHEEL}", b"wheel")
    bucket.put(SDIST, b"sdist")
    bucket.put("b/b-1.zip", b"old")
    for name in ("index.html", "simple/a/index.html", "pypi/a/json", "packages.json", "raw/"):
        bucket.put(name, b"")
    bucket.put("raw/notes.txt", b"?")

    kind, found = taken("gs://wheels")

    assert (kind, found.names) == ("files", sorted([WHEEL, SDIST, "b-1.zip"]))
    assert [(each.location, each.is_error) for each in found.passed_over] == [
        ("gs://wheels/raw/notes.txt", False)
    ]


def test_a_bucket_that_is_a_store(bucket: Bucket) -> None:
    """Of another store only its own files are offered, and none that it has of upstream indexes."""
    path = f"files/a/{'0' * 64}"
    bucket.put(f"{path}/{WHEEL}", b"wheel")
    bucket.put(f"upstream/pypi-0123abcd/{path}/{SDIST}", b"public")

    _, found = taken("gs://wheels")

    assert found.names == [WHEEL]
    assert [each.location for each in found.passed_over] == [
        f"gs://wheels/upstream/pypi-0123abcd/{path}/{SDIST}"
    ]


def test_what_a_bucket_knows(bucket: Bucket) -> None:
    """A file in a bucket has the size, the time and the digest that the bucket tells."""
    made = bucket.put(f"team/{WHEEL}", b"wheel")

    with opened("gs://wheels/team") as source:
        (candidate,) = offered(source.candidates()).candidates
        assert body_of(candidate) == b"wheel"

    assert (candidate.size, candidate.hashes) == (5, {"md5": md5(b"wheel")})
    assert candidate.location == f"gs://wheels/team/{WHEEL}"
    assert candidate.uploaded_at is not None
    # a bucket tells milliseconds; a sum of floats may differ from one by a little more than that
    assert abs(candidate.uploaded_at.timestamp() - made.created) < 0.002
    assert candidate.changed_at == candidate.uploaded_at.timestamp()


def test_a_packed_object(bucket: Bucket) -> None:
    """A file that the bucket keeps packed is offered, and reading it says what is wrong."""
    bucket.put(WHEEL, b"\x1f\x8b...", contentEncoding="gzip")
    with opened("gs://wheels") as source:
        (candidate,) = offered(source.candidates()).candidates

        assert (candidate.size, candidate.hashes) == (None, {})
        with pytest.raises(OSError, match="Content-Encoding"):
            body_of(candidate)


def test_faults_in_passing(server: FakeGcs, bucket: Bucket) -> None:
    """A bucket that fails now and then is read to the end."""
    bucket.page_size = 2
    for number in range(5):
        bucket.put(f"a-{number}.tar.gz", b"%d" % number * 1000)
    server.faults.add(StatusBefore(503), "list", skip=1)
    server.faults.add(DropBefore(), "list", skip=1)
    server.faults.add(CutAt(500), "media", skip=1)
    server.faults.add(StatusBefore(429, retry_after="1"), "media", skip=3)

    clock = Clock()
    with opened("gs://wheels", clock, kind="files") as source:
        found = offered(source.candidates())
        bodies = {body_of(each)[:1] for each in found.candidates}

    assert bodies == {b"0", b"1", b"2", b"3", b"4"}
    assert clock.pauses


def test_how_much_there_is(tmp_path: Path, bucket: Bucket) -> None:
    """A folder tells how much it offers; a bucket, or a part of a folder, does not."""
    bucket.put(WHEEL, b"wheel")
    (tmp_path / WHEEL).write_bytes(b"wheel")

    with opened(tmp_path) as source:
        assert source.total() == 1
    with opened(tmp_path, projects=("a",)) as source:
        assert source.total() is None
    with opened("gs://wheels") as source:
        assert source.total() is None


def test_projects_that_are_asked_for(tmp_path: Path) -> None:
    """With patterns of names, other projects are left where they are, however they are spelled."""
    names = ("My.Lib-1.tar.gz", "my_lib-1-py3-none-any.whl", "mylib-1.tar.gz", "x-y-2.zip")
    for name in (*names, "my-2to3-1.tar.gz", "z-1-2.tar.gz"):
        (tmp_path / name).write_bytes(b"?")

    assert taken(tmp_path, projects=("My_Lib",))[1].names == [
        "My.Lib-1.tar.gz",
        "my_lib-1-py3-none-any.whl",
    ]
    assert taken(tmp_path, projects=("x*",))[1].names == ["x-y-2.zip"]
    assert taken(tmp_path, projects=("my-2to3",))[1].names == ["my-2to3-1.tar.gz"]
    # it may be of either, and only its metadata says of which
    for name in ("z", "z-1"):
        assert taken(tmp_path, projects=(name,))[1].names == ["z-1-2.tar.gz"]


@pytest.mark.parametrize(
    ("link", "advice"),
    [
        ("../../packages/a/a-1.zip#sha256=00", "The files that they name are in {}/packages:"),
        ("/packages/a/a-1.zip", "are in {}/packages: import that."),
        ("https://files.example.com/a-1.zip?x=1", "The files are at https://files.example.com:"),
        ("../../lost/a-1.zip", "such as 'a-1.zip', are not on this machine: import the folder"),
    ],
)
@pytest.mark.parametrize("is_json", [False, True])
def test_pages_alone_say_where_their_files_are(
    tmp_path: Path, link: str, advice: str, *, is_json: bool
) -> None:
    """A folder that has the pages of an index alone is an error, which says what to import."""
    project = tmp_path / "simple" / "a"
    (tmp_path / "packages" / "a").mkdir(parents=True)
    (tmp_path / "packages" / "a" / "a-1.zip").write_bytes(b"?")
    project.mkdir(parents=True)
    (tmp_path / "simple" / "index.html").write_text('<a href="a/">a</a>')
    if is_json:
        files = [{"filename": "a-1.zip", "url": link, "hashes": {}}]
        (project / "index.json").write_text(json.dumps({"name": "a", "files": files}))
    else:
        (project / "index.html").write_text(f'<a href="{link}">a-1.zip</a>')

    with pytest.raises(Invalid) as raised:
        taken(tmp_path / "simple")

    assert raised.value.code == "bad_source"
    assert advice.format(tmp_path) in raised.value.message
    assert taken(tmp_path / "packages")[1].names == ["a-1.zip"]


def test_pages_of_dumb_pypi_alone_have_a_list(tmp_path: Path) -> None:
    """For a site of dumb-pypi the advice is its list; other pages, and none, are no error."""
    assert taken(tmp_path)[1].names == []
    (tmp_path / "index.html").write_text('<a href="README">read</a>')
    assert taken(tmp_path)[1].names == []
    (tmp_path / "a.html").write_text('<a href="../a-1.zip">a-1.zip</a>')
    (tmp_path / "packages.json").touch()

    with pytest.raises(Invalid, match="json, with the --packages-url that dumb-pypi had"):
        taken(tmp_path)


def test_pages_alone_in_a_bucket(bucket: Bucket) -> None:
    """The pages of a bucket name the place of their files in it."""
    bucket.put("web/simple/a/index.html", b'<a href="../../packages/a-1.zip">a-1.zip</a>')

    with pytest.raises(Invalid, match="are in gs://wheels/web/packages: import that"):
        taken("gs://wheels/web/simple")
