"""Whatever archive is accepted, the standard library reads the same in it."""

import gzip
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archive.builders import (
    END_OF_TAR,
    EXPERIMENTAL,
    NUMBERS_64,
    A,
    Entry,
    Fields,
    tar_block,
    tar_file,
    unicode_path,
    zip_bytes,
)
from tests.archive.families import NFC, NFD
from tests.archive.unpacking import unpacked
from wheelyard.archive.archive_rules import (
    ArchiveLimits,
    Deadline,
    Leniency,
    MemberKind,
    ReadContext,
    check_portable_name,
    check_relative_name,
    normalized_path,
)
from wheelyard.archive.tar_members import tar_members
from wheelyard.archive.zip_members import open_zip
from wheelyard.errors import Invalid


@contextmanager
def reading(data: bytes) -> Iterator[ReadContext]:
    """Lend a file of these bytes, as it is read by the index."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        deadline = Deadline(lambda: 0.0, 1, lambda: 0.0)
        yield ReadContext(file.fileno(), ArchiveLimits(), deadline, Leniency(is_lenient=False))


CHANGES = st.lists(
    st.tuples(st.integers(0, 511), st.sampled_from(b"\0 /.0123Lgx5\xff")), max_size=2
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=3), st.sampled_from([b"0", b"5", b"x", b"1", b"2"]))
def test_accepted_archives_mean_the_same_to_tarfile(
    changes: list[list[tuple[int, int]]], kind: bytes
) -> None:
    """Whatever tar archive is accepted, `tarfile` finds the same members in it."""
    out = b""
    for change in changes:
        block = bytearray(tar_block(b"a/b", 0, kind, target=b"c"))
        for at, byte in change:
            block[at] = byte
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        out += bytes(block)
    data = gzip.compress(out + tar_file(b"end", b"x" * 600) + END_OF_TAR)
    with reading(data) as file:
        try:
            ours = [(one.name.rstrip("/"), one.size) for one, _ in tar_members(file)]
        except Invalid:
            return
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as other:
        assert [(one.name.rstrip("/"), one.size) for one in other] == ours


HEADER_CHANGES = st.dictionaries(
    st.sampled_from(["crc", "size", "compressed", "flags", "method", "offset", "extra_size"]),
    st.sampled_from([0, 1, 3, 6, 8, 30, 0xFFFF]),
    max_size=1,
)
EXTRAS = st.sampled_from(
    [b"", b"", b"", b"abc", NUMBERS_64, unicode_path(A.name), unicode_path(b"b"), *EXPERIMENTAL]
)
NAMES = st.sampled_from(
    [b"a", b"b", b"a/", b"a/b", b"A", b"c/d", b"c\\d", b"./a", b"a/.", NFC, NFD, b"x" * 256]
)
KINDS = st.dictionaries(
    st.sampled_from(["maker", "attributes", "version"]),
    st.sampled_from([8, 0x10, 20, 0x314, 0o100644 << 16, 0o040755 << 16, 0o120777 << 16]),
    max_size=2,
)


def _width(field: str) -> int:
    return 0xFFFFFFFF if field == "attributes" else 0xFFFF


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Draw a member of a ZIP file that may lie."""
    extra: dict[str, int | bytes] = {"extra": draw(EXTRAS)}
    rare = st.integers(0, 9).map(bool)
    name = draw(NAMES)
    kind = {key: number & _width(key) for key, number in draw(KINDS).items()}
    return Entry(
        name,
        b"" if name.endswith(b"/") else draw(st.sampled_from([b"", A.data, bytes(3000)])),
        draw(st.sampled_from([0, 8])),
        both={} if name.isascii() else {"flags": 1 << 11},
        local=extra | draw(HEADER_CHANGES),
        central=extra | kind | draw(HEADER_CHANGES),
        listed=draw(rare),
        present=draw(rare),
    )


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(entries(), max_size=4),
    st.sampled_from([b"", b"PK\5\6", b"junk"]),
    st.dictionaries(st.sampled_from(["entries", "size", "offset"]), st.integers(0, 9), max_size=1),
    st.sampled_from([None, {}]),
)
def test_accepted_archives_mean_the_same_to_zipfile(
    members: list[Entry], comment: bytes, end: dict[str, int], wide: dict[str, Fields] | None
) -> None:
    """Whatever ZIP file is accepted, `zipfile` finds the same members with the same data in it."""
    data = zip_bytes(members, comment=comment, end=end, wide=wide)
    with reading(data) as file:
        try:
            archive = open_zip(file, check_portable_name)
            ours = {name: archive.read(each, 4000) for name, each in archive.members.items()}
        except Invalid:
            return
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert {name: other.read(name) for name in other.namelist()} == ours
        assert other.testzip() is None
        assert {one.filename: one.file_size for one in other.infolist()} == {
            name: len(content) for name, content in ours.items()
        }


@pytest.mark.integration
@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(entries(), min_size=1, max_size=2), st.sampled_from([None, None, {}]))
def test_accepted_archives_are_unpacked_to_the_same_files(
    members: list[Entry], wide: dict[str, Fields] | None
) -> None:
    """Whatever ZIP file is accepted, every program unpacks the same files from it."""
    data = zip_bytes(members, wide=wide)
    with reading(data) as file:
        try:
            archive = open_zip(file, check_relative_name)
            ours = {
                normalize("NFC", normalized_path(name)): archive.read(each, 4000)
                for name, each in archive.members.items()
                if each.kind is not MemberKind.FOLDER
            }
        except Invalid:
            return
    expected = dict.fromkeys(["zipfile", "bsdtar"], ("", ours))
    assert unpacked(data, is_zip=True) == expected
