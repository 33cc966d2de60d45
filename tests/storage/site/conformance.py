"""What every Site does. A place passes this file unchanged or it is not a Site."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.storage.conformance import PASSES, WRITERS, at_once
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import ABSENT, ObjectVersion, Stored, WebType
from wheelyard.storage.site.base import Site

PAGE = WebType("text/html; charset=utf-8", "no-cache")
WHEEL = WebType("application/octet-stream", "public, max-age=31536000, immutable")
A, B = "simple/a/index.html", "simple/b/index.html"
FILE = "files/a/0123/a-1-py3-none-any.whl"
LARGE = 5_000_000
"""Bytes: more than goes to a bucket in one request."""


class SiteConformance:
    """Subclass it, name it Test..., and give it a `site` fixture."""

    def test_what_was_put_is_read_back(self, site: Site) -> None:
        """An object reads back whole, with the version that its write returned."""
        version = site.put(A, b"one", PAGE, ABSENT)

        assert site.get(A) == Stored(b"one", version)
        assert site.version(A) == version

    def test_what_is_not_there(self, site: Site) -> None:
        """Where nothing is, there is no version, and nothing to be read or listed."""
        assert site.version(A) == ABSENT
        assert site.get(A) is None
        assert list(site.names("")) == []

    def test_an_empty_object(self, site: Site) -> None:
        """An object of no bytes exists."""
        version = site.put(A, b"", PAGE, None)

        assert site.get(A) == Stored(b"", version)

    def test_a_new_one_never_overwrites(self, site: Site) -> None:
        """Who expects nothing there, and finds something, has changed nothing: no byte of it."""
        version = site.put(A, b"one", PAGE, ABSENT)

        for body in (b"one", b"two"):
            with pytest.raises(Conflict):
                site.put(A, body, PAGE, ABSENT)

        assert site.get(A) == Stored(b"one", version)

    def test_an_old_version_changes_nothing(self, site: Site) -> None:
        """Who expects what is gone or older has changed nothing, with the same bytes too."""
        old = site.put(A, b"one", PAGE, None)
        newer = site.put(A, b"two", PAGE, old)
        for body in (b"two", b"three"):
            with pytest.raises(Conflict):
                site.put(A, body, PAGE, old)
        assert site.get(A) == Stored(b"two", newer)

        site.delete(A, newer)

        with pytest.raises(Conflict):
            site.put(A, b"three", PAGE, newer)
        assert list(site.names("")) == []

    def test_the_same_bytes_have_another_version(self, site: Site) -> None:
        """Each put has a version of its own, so that who knows only an older one loses."""
        versions = [site.put(A, b"same", PAGE, None) for _ in range(50)]

        assert len(set(versions)) == 50
        with pytest.raises(Conflict):
            site.put(A, b"older", PAGE, versions[-2])
        assert site.get(A) == Stored(b"same", versions[-1])

    def test_an_object_made_again_is_another(self, site: Site) -> None:
        """What is deleted and made again has another version, in the same instant too."""
        versions = set()
        for _ in range(50):
            versions.add(site.put(A, b"same", PAGE, ABSENT))
            site.delete(A, None)

        assert len(versions) == 50

    def test_delete(self, site: Site) -> None:
        """What is deleted is gone, its neighbours stay, and deleting it again is no failure."""
        site.put(A, b"one", PAGE, None)
        version = site.put(B, b"two", PAGE, None)

        site.delete(A, None)
        site.delete(A, None)

        assert site.get(A) is None
        assert list(site.names("")) == [(B, 3, version)]

    def test_delete_of_one_version(self, site: Site) -> None:
        """A deletion of an old version, or of what is gone, is a Conflict and removes nothing."""
        old = site.put(A, b"one", PAGE, None)
        newer = site.put(A, b"two", PAGE, old)
        with pytest.raises(Conflict):
            site.delete(A, old)
        assert site.get(A) == Stored(b"two", newer)

        site.delete(A, newer)

        assert site.get(A) is None
        with pytest.raises(Conflict):
            site.delete(A, newer)

    def test_a_listing(self, site: Site) -> None:
        """A listing has every object whose path begins so, in order, with size and version."""
        paths = ["files/a/1", "files/a-b/1", "files/a.html", "index.html", ".hidden/x.json"]
        versions = {path: site.put(path, b"four", PAGE, None) for path in paths}

        assert list(site.names("")) == [(path, 4, versions[path]) for path in sorted(paths)]
        assert [each.path for each in site.names("files/a")] == sorted(paths[:3])
        assert [each.path for each in site.names("files/a/")] == ["files/a/1"]
        assert list(site.names("nothing/")) == []

    @pytest.mark.parametrize(
        "path", ["", "/", "/a", "a//b", "../a", "a/../b", "a/..", ".", "a/./b", "a\0b", "a\nb"]
    )
    def test_what_is_no_path(self, site: Site, path: str, tmp_path: Path) -> None:
        """What would lead out of a site is refused by every verb, before anything is done."""
        for call in (
            lambda: site.version(path),
            lambda: site.get(path),
            lambda: site.put(path, b"", PAGE, None),
            lambda: site.put_file(path, tmp_path, PAGE),
            lambda: site.put_stream(path, lambda: iter([b""]), PAGE),
            lambda: site.delete(path, None),
        ):
            with pytest.raises(ValueError, match="no path"):
                call()
        assert list(site.names("")) == []

    @pytest.mark.parametrize("size", [0, 10, LARGE])
    def test_a_file(self, site: Site, tmp_path: Path, size: int) -> None:
        """A file is written once; it stays where it is, and may change later."""
        source = tmp_path / "body"
        source.write_bytes(b"x" * size)

        assert site.put_file(FILE, source, WHEEL)
        before = site.version(FILE)
        assert not site.put_file(FILE, source, WHEEL)

        assert site.version(FILE) == before
        source.write_bytes(b"changed")
        assert site.get(FILE) == Stored(b"x" * size, before)

    @pytest.mark.parametrize("size", [0, 10, LARGE])
    def test_a_stream(self, site: Site, size: int) -> None:
        """A stream is written once, however long it is."""
        pieces = [b"x" * min(100_000, size - at) for at in range(0, size, 100_000)]

        assert site.put_stream(FILE, lambda: iter(pieces), WHEEL)
        before = site.version(FILE)
        assert not site.put_stream(FILE, lambda: iter(pieces), WHEEL)

        assert site.get(FILE) == Stored(b"x" * size, before)

    def test_half_a_file(self, site: Site, tmp_path: Path) -> None:
        """What lies where a file belongs, and is shorter, is replaced by the whole of it."""
        source = tmp_path / "body"
        source.write_bytes(b"whole")
        brings = [
            partial(site.put_file, FILE, source, WHEEL),
            partial(site.put_stream, FILE, lambda: iter([b"wh", b"ole"]), WHEEL),
        ]
        for bring in brings:
            site.put(FILE, b"who", WHEEL, None)

            assert bring()

            found = site.get(FILE)
            assert found
            assert found.body == b"whole"

    @pytest.mark.parametrize("size", [10, LARGE])
    @pytest.mark.parametrize("fault", [Unavailable("the store is gone"), OSError(5, "I/O error")])
    def test_a_stream_that_breaks_off(self, site: Site, size: int, fault: Exception) -> None:
        """Of a stream that does not come to its end, nothing is seen."""

        def broken() -> Iterator[bytes]:
            yield b"x" * size
            raise fault

        with pytest.raises(Unavailable):
            site.put_stream(FILE, broken, WHEEL)

        assert list(site.names("")) == []

    def test_one_of_many_racing_puts_wins(self, site: Site, pool: ThreadPoolExecutor) -> None:
        """Of many puts over one version, one succeeds; the same bytes are no excuse."""
        version = ABSENT
        for turn in range(PASSES):
            bodies = [b"%d" % (writer % 2 or turn) for writer in range(WRITERS)]
            racing = [partial(site.put, A, body, PAGE, version) for body in bodies]

            outcomes = at_once(pool, racing)

            (version,) = [each.result() for each in outcomes if each.exception() is None]
            assert {type(each.exception()) for each in outcomes} == {type(None), Conflict}
            assert site.version(A) == version

    def test_racing_files(self, site: Site, pool: ThreadPoolExecutor) -> None:
        """Of many who bring the same file, at least one does, and none fails."""
        for turn in range(PASSES):
            path = f"files/a/{turn}/a.whl"
            racing = [partial(site.put_stream, path, _stream, WHEEL) for _ in range(WRITERS)]

            outcomes = at_once(pool, racing)

            assert any(each.result() for each in outcomes)
            found = site.get(path)
            assert found
            assert found.body == b"one two"

    def test_neighbours_come_and_go(self, site: Site, pool: ThreadPoolExecutor) -> None:
        """Writers who make and delete side by side never hinder each other."""

        def work(writer: int) -> None:
            for turn in range(PASSES):
                path = f"deep/down/{turn % 3}/{writer}"
                version = site.put(path, b"%d" % turn, PAGE, ABSENT)
                site.delete(path, version)

        outcomes = at_once(pool, [partial(work, writer) for writer in range(WRITERS)])

        assert [each.exception() for each in outcomes] == [None] * WRITERS
        assert list(site.names("")) == []

    def test_no_reader_sees_half_a_write(self, site: Site, pool: ThreadPoolExecutor) -> None:
        """While an object is replaced again and again, every read is one whole write."""
        bodies = [bytes([letter]) * 200_000 for letter in b"abcd"]
        site.put(A, bodies[0], PAGE, None)

        def read() -> set[bytes]:
            seen = set()
            for _ in range(PASSES):
                found = site.get(A)
                assert found
                seen.add(found.body)
            return seen

        readers = [pool.submit(read) for _ in range(2)]
        version: ObjectVersion | None = None
        for turn in range(PASSES):
            version = site.put(A, bodies[turn % len(bodies)], PAGE, version)

        assert all(reader.result() <= set(bodies) for reader in readers)


def _stream() -> Iterator[bytes]:
    yield b"one "
    yield b"two"
