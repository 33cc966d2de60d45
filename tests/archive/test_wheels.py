"""Wheels: what is accepted, and what is refused with which code; ids as in the attack list."""

import io
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.archive.builders import (
    DEFLATED,
    INFO,
    METADATA,
    SDIST_NAME,
    UNCHANGED,
    WHEEL,
    WHEEL_NAME,
    Entry,
    Fields,
    deflated,
    fields,
    inspect_bytes,
    record_line,
    wheel_bytes,
    wheel_entries,
    zip_bytes,
)
from wheelyard.archive.deadline import Deadline
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.names import check_portable_name
from wheelyard.archive.zip_members import member_pieces
from wheelyard.archive.zip_structure import read_structure
from wheelyard.errors import Invalid

MIB = 1 << 20
A = Entry(b"demo/a.py", b"a = 1\n")
NUMBERS_64 = b"\1\0\x10\0" + len(A.data).to_bytes(8, "little") * 2
GOOD = wheel_bytes()


def unicode_path(name: bytes) -> bytes:
    """Return the extra field that gives a member another name."""
    body = b"\1" + zlib.crc32(A.name).to_bytes(4, "little") + name
    return b"\x75\x70" + len(body).to_bytes(2, "little") + body


def extra_field(kind: int, body: bytes) -> bytes:
    """Return one extra field of a ZIP header."""
    return kind.to_bytes(2, "little") + len(body).to_bytes(2, "little") + body


def changed(
    local: Fields = UNCHANGED, central: Fields = UNCHANGED, both: Fields = UNCHANGED
) -> bytes:
    """Return a wheel in which one entry's headers have other fields."""
    return wheel_bytes(Entry(A.name, A.data, local=local, central=central, both=both))


def ended(**end: int) -> bytes:
    """Return a wheel whose end record has other fields."""
    return zip_bytes(wheel_entries(), end=end)


def widened(*, end: Fields | None = None, **records: Fields) -> bytes:
    """Return a wheel that ends with 64-bit records."""
    return zip_bytes(wheel_entries(), end=end, wide=records)


def tar_in_front() -> bytes:
    """Return a wheel whose first 512 bytes are a tar header as well."""
    data = bytearray()
    number = total = 0
    while total != 0o12345:
        # A counter changes the checksum of the member, until that of the tar header is right.
        number += 1
        data = bytearray(b"%08d" % number + b"\x08" * 512)
        data[148 - 31 : 156 - 31] = b"012345\0 "
        out = zip_bytes([Entry(b"x", bytes(data))])
        total = sum(out[:148]) + sum(out[156:512]) + 8 * 32
    return zip_bytes([Entry(b"x", bytes(data)), *wheel_entries()])


REFUSED: list[tuple[str, Callable[[], bytes], str]] = [
    ("W01-text", lambda: b"hello\n" * 100, "invalid_archive"),
    ("W01-png", lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), "invalid_archive"),
    ("W01-empty", lambda: b"", "invalid_archive"),
    ("W01-no-members", lambda: zip_bytes([]), "missing_metadata"),
    ("W03-bytes-before", lambda: zip_bytes(wheel_entries(), before=b"#!/bin/sh\n"), ""),
    ("W04-bytes-after", lambda: GOOD + b"junk", ""),
    ("W05-comment-8-bit", lambda: zip_bytes(wheel_entries(), comment=b"\xe9"), ""),
    ("W05-comment-with-PK", lambda: zip_bytes(wheel_entries(), comment=b"a PK b"), ""),
    ("W06-entry-comment", lambda: changed(central={"comment": b"c"}), ""),
    ("W07-concatenated", lambda: GOOD + GOOD, ""),
    ("W08-end-in-comment", lambda: zip_bytes(wheel_entries(), comment=GOOD[-22:]), ""),
    ("W08-two-ends", lambda: GOOD + GOOD[-22:], ""),
    ("W09-count-low", lambda: ended(entries=3, entries_here=3), ""),
    ("W09-count-high", lambda: ended(entries=5, entries_here=5), ""),
    ("W09-counts-differ", lambda: ended(entries_here=3), ""),
    ("W10-size-off", lambda: ended(size=200), ""),
    ("W10-offset-off", lambda: ended(offset=100), ""),
    ("W10-split", lambda: ended(disk=1), ""),
    ("W12-64-differs", lambda: widened(end={"entries": 3}), ""),
    ("W13-no-locator", lambda: widened(no_locator={}), ""),
    ("W13-locator-elsewhere", lambda: widened(locator={"offset": 7}), ""),
    ("W13-locator-two-disks", lambda: widened(locator={"disks": 2}), ""),
    ("W13-no-end64", lambda: widened(no_end64={}), ""),
    ("W13-extensible", lambda: widened(end64={"rest": 45}), ""),
    ("W13-nothing-but-markers", lambda: ended(offset=0xFFFFFFFF), ""),
    ("W14-length-5", lambda: changed(both=fields(extra=extra_field(1, bytes(5)))), ""),
    ("W14-length-12", lambda: changed(both=fields(extra=extra_field(1, bytes(12)))), ""),
    ("W14-twice", lambda: changed(both=fields(extra=extra_field(1, b"") * 2)), ""),
    ("W14-differs", lambda: changed(both=fields(extra=extra_field(1, bytes(16)))), ""),
    ("W14-empty-but-needed", lambda: changed(central={"size": 0xFFFFFFFF}), ""),
    ("W14-disk", lambda: changed(central={"disk": 2}), ""),
    ("W15-same-name", lambda: wheel_bytes(A, A), ""),
    (
        "W16-METADATA-twice",
        lambda: wheel_bytes(Entry(INFO + b"/METADATA", METADATA + b"Requires-Dist: evil\n")),
        "",
    ),
    ("W17-hidden", lambda: wheel_bytes(Entry(A.name, A.data, listed=False)), ""),
    ("W17-hidden-bytes", lambda: wheel_bytes(Entry(A.name, A.data, tail=b"x")), ""),
    ("W17-before-directory", lambda: zip_bytes(wheel_entries(), between=b"x"), ""),
    ("W18-absent", lambda: wheel_bytes(Entry(A.name, A.data, present=False)), ""),
    ("W18-not-a-header", lambda: changed(local={"signature": b"PK\3\5"}), ""),
    ("W18-directory-damaged", lambda: changed(central={"signature": b"PK\1\3"}), ""),
    ("W19-names-differ", lambda: changed(local={"name": b"demo/b.py"}), ""),
    ("W19-lengths-differ", lambda: changed(local={"name": b"demo/a.pyc"}), ""),
    ("W20-local-crc", lambda: changed(local={"crc": 1}), ""),
    ("W21-crc", lambda: changed(both=fields(crc=1)), ""),
    ("W22-local-size", lambda: changed(local={"size": 7}), ""),
    ("W22-local-compressed", lambda: changed(local={"compressed": 7}), ""),
    ("W23-method", lambda: changed(local={"method": 8}), ""),
    (
        "W24-descriptor",
        lambda: wheel_bytes(Entry(A.name, A.data, tail=bytes(16), both=fields(flags=8))),
        "",
    ),
    ("W25-encrypted", lambda: changed(both=fields(flags=1)), ""),
    ("W25-strongly", lambda: changed(both=fields(flags=1 | 1 << 6)), ""),
    ("W25-masked", lambda: changed(both=fields(flags=1 << 13)), ""),
    *((f"W26-{n}", lambda n=n: changed(both=fields(method=n)), "") for n in (1, 9, 12, 14, 93, 99)),
    ("W27-one-header-twice", lambda: changed(central={"offset": 0}), ""),
    (
        "W27-quoted-overlap",
        lambda: wheel_bytes(Entry(b"demo/z", GOOD), Entry(b"demo/q", b"", central={"offset": 90})),
        "",
    ),
    ("W27-beyond-the-end", lambda: changed(central={"offset": 1 << 30}), ""),
    ("W28-other-name", lambda: changed(both=fields(extra=unicode_path(b"demo/b.py"))), ""),
    ("W28-twice", lambda: changed(both=fields(extra=unicode_path(A.name) * 2)), ""),
    ("W29-cut", lambda: changed(both=fields(extra=b"abc")), ""),
    ("W29-too-long", lambda: changed(both=fields(extra=b"\x55\x54\xff\0abc")), ""),
    ("W29-local-too-long", lambda: changed(local={"extra_size": 0xFFFF}), ""),
    ("W29-central-too-long", lambda: changed(central={"extra_size": 0xFFFF}), ""),
    ("W31-not-utf8", lambda: wheel_bytes(Entry(b"demo/\xe9", both=fields(flags=1 << 11))), ""),
    ("W31-cp437", lambda: wheel_bytes(Entry("demo/é".encode())), ""),
    ("W37-folder-with-data", lambda: wheel_bytes(Entry(b"demo/d/", b"data")), ""),
    ("W41-no-dist-info", lambda: zip_bytes([A]), "missing_metadata"),
    ("W41-other", lambda: wheel_bytes(info=b"other-1.0.dist-info"), "missing_metadata"),
    ("W41-other-version", lambda: wheel_bytes(info=b"demo-2.dist-info"), "missing_metadata"),
    ("W41-no-version", lambda: wheel_bytes(info=b"demo.dist-info"), "missing_metadata"),
    ("W42-two-dist-info", lambda: wheel_bytes(Entry(b"other-1.0.dist-info/x")), ""),
    ("W45-no-METADATA", lambda: zip_bytes(wheel_entries(metadata=None)), "missing_metadata"),
    ("W46-no-WHEEL", lambda: wheel_bytes(wheel=None), "missing_metadata"),
    ("W47-2.0", lambda: wheel_bytes(wheel=b"Wheel-Version: 2.0\n"), "invalid_metadata"),
    ("W47-absent", lambda: wheel_bytes(wheel=b"Tag: py3-none-any\n"), "invalid_metadata"),
    ("W47-no-number", lambda: wheel_bytes(wheel=b"Wheel-Version: one\n"), "invalid_metadata"),
    ("W49-no-RECORD", lambda: zip_bytes(wheel_entries(with_record=False)), "missing_metadata"),
    (
        "M39-description-of-20-MB",
        lambda: wheel_bytes(metadata=METADATA + b"\n" + b"A" * 20_000_000),
        "archive_bomb",
    ),
    ("W56-size-lies", lambda: changed(both=fields(size=3)), ""),
    (
        "W56-inflates-to-more",
        lambda: wheel_bytes(Entry(A.name, bytes(MIB), DEFLATED, both=fields(size=9))),
        "",
    ),
    ("W56-inflates-to-less", lambda: wheel_bytes(Entry(A.name, b"", 8, both=fields(size=9))), ""),
    ("W57-claims-4-GB", lambda: changed(both=fields(size=0xFFFFFFF0)), "archive_bomb"),
    (
        "W57-ratio",
        lambda: wheel_bytes(Entry(A.name, bytes(65 * MIB), DEFLATED)),
        "archive_bomb",
    ),
    ("W61-not-utf8", lambda: wheel_bytes(metadata=METADATA + b"Author: \xe9"), "invalid_metadata"),
    ("W62-no-Name", lambda: wheel_bytes(metadata=b"Metadata-Version: 2.1\n"), "invalid_metadata"),
    (
        "W63-other-name",
        lambda: wheel_bytes(metadata=METADATA.replace(b"demo", b"other")),
        "name_mismatch",
    ),
    (
        "W64-other-version",
        lambda: wheel_bytes(metadata=METADATA.replace(b"1.0", b"1.1")),
        "version_mismatch",
    ),
    (
        "W67-no-licence-file",
        lambda: wheel_bytes(metadata=METADATA + b"License-File: LICENSE\n"),
        "invalid_metadata",
    ),
    ("W68-tar", tar_in_front, ""),
    (
        "W69-bytes-behind-deflate",
        lambda: wheel_bytes(Entry(A.name, A.data, DEFLATED, packed=deflated(A.data) + b"x")),
        "",
    ),
    (
        "W69-much-behind-deflate",
        lambda: wheel_bytes(Entry(A.name, A.data, DEFLATED, packed=deflated(A.data) + bytes(MIB))),
        "",
    ),
    (
        "W69-deflate-cut",
        lambda: wheel_bytes(Entry(A.name, A.data, DEFLATED, packed=deflated(A.data)[:-1])),
        "",
    ),
    (
        "W69-deflate-damaged",
        lambda: wheel_bytes(Entry(A.name, A.data, DEFLATED, packed=b"\xff" * 9)),
        "",
    ),
]

UNSAFE_NAMES = {
    "W30-nul": b"demo/a\0b.py",
    "W30-newline": b"demo/a\nb.py",
    "W32-parent": b"../evil.py",
    "W33-absolute": b"/etc/x",
    "W33-drive": b"C:/x",
    "W33-drive-backslash": b"C:\\x",
    "W33-host": b"//host/x",
    "W34-backslash": b"..\\evil.py",
    "W34-plain-backslash": b"demo\\evil.py",
    "W35-scripts": b"demo-1.0.data/scripts/../../../evil",
    "W36-dot": b"demo/./a",
    "W36-empty": b"demo//a",
    "W36-empty-end": b"demo//",
    "W36-blank": b"demo/a ",
    "W36-trailing-dot": b"demo/a.",
    "W36-trailing-dot-folder": b"demo./a",
    "W36-device": b"demo/CON",
    "W36-device-lower": b"nul/a",
    "W36-colon": b"demo/a:b",
    "W36-no-name": b"",
    "W40-file-and-folder": b"demo/__init__.py/b.py",
    "W60-long": b"demo/" + b"a" * 1020,
    "W60-deep": b"a/" * 64 + b"a",
}


@pytest.mark.parametrize(
    ("build", "code"),
    [pytest.param(build, code or "invalid_archive", id=name) for name, build, code in REFUSED],
)
def test_refuses(tmp_path: Path, build: Callable[[], bytes], code: str) -> None:
    """A file that is no honest wheel is refused, with the code for what is wrong."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, build())
    assert caught.value.code == code
    assert caught.value.message.isascii()
    assert caught.value.short.startswith(("Invalid distribution file: ", "Not a valid"))


@pytest.mark.parametrize("name", [pytest.param(name, id=key) for key, name in UNSAFE_NAMES.items()])
def test_refuses_names(tmp_path: Path, name: bytes) -> None:
    """A member whose name leads outside, or is no path on every platform, is refused."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(Entry(name)))
    assert caught.value.code == "unsafe_archive"


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, id=f"W37-{mode:o}")
        for mode in (0o120777, 0o020666, 0o060666, 0o010666, 0o140777, 0o040755)
    ],
)
def test_refuses_kinds(tmp_path: Path, mode: int) -> None:
    """A member that is a link, a device or a folder without a slash is refused."""
    entry = Entry(A.name, A.data, central={"attributes": mode << 16})
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(entry))
    assert caught.value.code == "unsafe_archive"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(zip_bytes(wheel_entries(), comment=b"hello"), id="W05-comment"),
        pytest.param(widened(), id="W11-zip64"),
        pytest.param(
            widened(
                end={
                    "entries": 0xFFFF,
                    "entries_here": 0xFFFF,
                    "size": 0xFFFFFFFF,
                    "offset": 0xFFFFFFFF,
                }
            ),
            id="W11-zip64-markers",
        ),
        pytest.param(
            changed(
                local={"extra": NUMBERS_64, "size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF},
            ),
            id="W14-local-64",
        ),
        pytest.param(changed(both=fields(extra=NUMBERS_64)), id="W14-both-agree"),
        pytest.param(changed(both=fields(extra=extra_field(1, b""))), id="W14-empty"),
        pytest.param(changed(both=fields(extra=unicode_path(A.name))), id="W28-same-name"),
        pytest.param(changed(local={"extra": b"UT\5\0\1abcd"}), id="W29-time-stamps"),
        pytest.param(
            wheel_bytes(Entry("demo/é.py".encode(), both=fields(flags=1 << 11))), id="W31-utf8"
        ),
        pytest.param(wheel_bytes(Entry(b"demo/aux.py")), id="W36-device-with-suffix"),
        pytest.param(wheel_bytes(Entry(b"demo/d/")), id="W37-folder"),
        pytest.param(
            wheel_bytes(Entry(b"demo/d/", central={"attributes": 0o040755 << 16})),
            id="W37-folder-with-mode",
        ),
        pytest.param(changed(central={"attributes": 0o106755 << 16}), id="W38-setuid"),
        pytest.param(wheel_bytes(info=b"Demo-1.0.dist-info"), id="W43-case"),
        pytest.param(wheel_bytes(info=b"demo-1.0.0.dist-info"), id="W44-version"),
        pytest.param(
            wheel_bytes(Entry(b"demo/_vendor/other-1.dist-info/METADATA")), id="W42-vendored"
        ),
        pytest.param(wheel_bytes(Entry(b"demo/a.zip", GOOD)), id="W58-nested"),
        pytest.param(wheel_bytes(Entry(b"demo/zeros", bytes(60 * MIB), DEFLATED)), id="W57-less"),
        pytest.param(
            wheel_bytes(
                Entry(INFO + b"/licenses/LICENSE", b"free"),
                metadata=METADATA + b"License-File: LICENSE\n",
            ),
            id="W67-licence-file",
        ),
        pytest.param(
            wheel_bytes(metadata=METADATA.replace(b"2.4", b"2.1") + b"License-File: LICENSE\n"),
            id="W67-older",
        ),
        *(
            pytest.param(changed(both=fields(date=date, time=time)), id=f"W70-{name}")
            for name, date, time in (("1979", 0, 0), ("2108", 0xFFFF, 0), ("62s", 33, 31))
        ),
        pytest.param(zip_bytes(reversed(wheel_entries())), id="any-order"),
    ],
)
def test_accepts(tmp_path: Path, data: bytes) -> None:
    """A wheel that every client installs in the same way is accepted without a warning."""
    contents = inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert contents.core.name == "demo"
    assert contents.warnings == ()


def test_serves_the_exact_metadata(tmp_path: Path) -> None:
    """The metadata that is served is METADATA byte for byte, odd line ends included."""
    raw = METADATA.replace(b"\n", b"\r\n") + b"X-Unknown: 1\r\n\r\nRead me.\n"
    assert inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(metadata=raw)).metadata == raw


def test_refuses_every_cut(tmp_path: Path) -> None:
    """W02: a wheel that was cut off anywhere is refused."""
    for length in range(0, len(GOOD), 64):
        with pytest.raises(Invalid) as caught:
            inspect_bytes(tmp_path, WHEEL_NAME, GOOD[:length])
        assert caught.value.code == "invalid_archive"


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        pytest.param(wheel_bytes(Entry(b"demo/A.py"), A), "upper and lower case", id="W39"),
        pytest.param(
            wheel_bytes(wheel=WHEEL.replace(b"1.0", b"1.9")), "newer than this index", id="W47-1.9"
        ),
        pytest.param(wheel_bytes(wheel=b"Wheel-Version: 1.0\n"), "differ", id="W48-no-tags"),
        pytest.param(
            wheel_bytes(wheel=WHEEL.replace(b"py3", b"py2.py3")), "differ", id="W48-more-tags"
        ),
        pytest.param(
            wheel_bytes(wheel=b"Wheel-Version: 1.0\nTag: " + b"a.b" * 999 + b"-" + b"c." * 999),
            "differ",
            id="W48-too-many-tags",
        ),
        pytest.param(
            wheel_bytes(metadata=METADATA.replace(b"2.4", b"2.99")), "newer", id="M02-metadata"
        ),
    ],
)
def test_warns(tmp_path: Path, data: bytes, warning: str) -> None:
    """What breaks only some platforms or tools is accepted with a warning."""
    contents = inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert warning in contents.warnings[0]
    assert len(contents.warnings) == 1


def test_compressed_tags_in_wheel_file_are_the_same_tags(tmp_path: Path) -> None:
    """W48: a WHEEL file may write its tags as compressed as the filename."""
    data = wheel_bytes(wheel=WHEEL.replace(b"py3", b"py2.py3"))
    contents = inspect_bytes(tmp_path, "demo-1.0-py2.py3-none-any.whl", data)
    assert contents.warnings == ()


def lines(*others: bytes) -> bytes:
    """Return a RECORD that is right for a wheel with the member `A`, and further lines."""
    listed = [record_line(entry) for entry in wheel_entries(A) if b"RECORD" not in entry.name]
    return b"".join((*listed, *others))


RIGHT_LINE = record_line(A)
PADDED = RIGHT_LINE.replace(b",6\n", b"=,6\n")
HEX = b"demo/a.py,sha256=" + b"0" * 64 + b",6\n"

BAD_RECORDS = {
    "W50-fewer": lines().replace(RIGHT_LINE, b""),
    "W50-more": lines(b"demo/none.py,sha256=a,1\n"),
    "W51-wrong": lines().replace(RIGHT_LINE, record_line(Entry(A.name, b"b = 2\n"))),
    "W52-md5": lines().replace(RIGHT_LINE, record_line(A, "md5")),
    "W52-sha1": lines().replace(RIGHT_LINE, record_line(A, "sha1")),
    "W52-missing": lines().replace(RIGHT_LINE, b"demo/a.py,,6\n"),
    "W52-no-column": lines().replace(RIGHT_LINE, b"demo/a.py\n"),
    "W52-padded": lines().replace(RIGHT_LINE, PADDED),
    "W52-hex": lines().replace(RIGHT_LINE, HEX),
    "W52-not-ascii": lines().replace(RIGHT_LINE, "demo/a.py,sha256=é,6\n".encode()),
    "W52-contradiction": lines(RIGHT_LINE, HEX),
    "W53-not-utf8": lines(b"\xe9,,\n"),
    "W53-not-csv": lines(b'"demo', b"x" * 200_000, b'",,\n'),
    "W53-nul": lines(b"\0,,\n"),
    "W53-lines": lines(b"\n" * 200_000),
    "W53-fields": lines(b"," * 800_000),
}


@pytest.mark.parametrize(
    "record", [pytest.param(record, id=key) for key, record in BAD_RECORDS.items()]
)
def test_refuses_records(tmp_path: Path, record: bytes) -> None:
    """A wheel whose RECORD is not the list of its files with their hashes is refused."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(A, record=record))
    assert caught.value.code == "record_mismatch"


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(lines(), id="without-itself"),
        pytest.param(lines(RIGHT_LINE), id="twice-alike"),
        pytest.param(lines().replace(RIGHT_LINE, record_line(A, "sha512")), id="sha512"),
        pytest.param(lines().replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(lines(b"demo/,,\n", b"\n"), id="folder-and-blank-line"),
        pytest.param(
            lines(INFO + b"/RECORD.jws,,\n", INFO + b"/RECORD.p7s,,\n"), id="W52-signatures"
        ),
        pytest.param(lines().replace(b"demo/a", b"demo\\a"), id="W54-backslashes"),
    ],
)
def test_accepts_records(tmp_path: Path, record: bytes) -> None:
    """RECORD may be written in any way that means the same files and hashes."""
    data = wheel_bytes(A, record=record)
    assert inspect_bytes(tmp_path, WHEEL_NAME, data).warnings == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(b"[console_scripts]\n../../evil = demo:x", "unsafe_archive", id="W65-path"),
        pytest.param(b"[gui_scripts]\n..\\evil = demo:x", "unsafe_archive", id="W65-backslash"),
        pytest.param(b"[console_scripts]\n.. = demo:x", "unsafe_archive", id="W65-dots"),
        pytest.param(b"[console_scripts]\na b = demo:x", "invalid_metadata", id="W66-blank"),
        pytest.param(b"[console_scripts]\n= demo:x", "invalid_metadata", id="W66-no-name"),
        pytest.param(b"[a]\nx = 1\nx = 2", "invalid_metadata", id="W66-name-twice"),
        *(
            pytest.param(
                b"[console_scripts]\nfoo = " + value, "invalid_metadata", id=f"W66-{value!r}"
            )
            for value in (
                b"demo:x; import os",
                b"demo:x()",
                b"demo:x\n  import os",
                b"demo:x\n  y = demo:z",
                b"demo; import os:x",
                b"demo:x [a] + 1",
                b"demo.:x",
                b"1demo:x",
                b"demo",
                b"",
            )
        ),
        pytest.param(b"x = demo:x", "invalid_metadata", id="W66-no-group"),
        pytest.param(b"[a]\nhello", "invalid_metadata", id="W66-not-ini"),
        pytest.param(b"[a\nx = 1", "invalid_metadata", id="W66-open-group"),
        pytest.param(b"[a]\n[a]\n", "invalid_metadata", id="W66-group-twice"),
        pytest.param(b"[a]\n\xe9 = 1", "invalid_metadata", id="W66-not-utf8"),
        pytest.param(b"[a]\n" + b"#" * MIB, "archive_bomb", id="W66-large"),
    ],
)
def test_refuses_entry_points(tmp_path: Path, text: bytes, code: str) -> None:
    """Commands that an installer would write elsewhere, or cannot read, are refused."""
    entry = Entry(INFO + b"/entry_points.txt", text, DEFLATED)
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(entry))
    assert caught.value.code == code


def test_accepts_entry_points(tmp_path: Path) -> None:
    """Comments, blank lines, continued values and free names of other groups are fine."""
    text = (
        b"# what\n; else\n\n[console_scripts]\na.b-c_1 = demo:x [extra]\n"
        b"d = demo._sub.mod : Class.main\n  [one, two-3]\ne=demo:x\n"
        b"[gui_scripts]\n  f = demo:x\n  g = demo:y\n"
        b"[pytest11]\nany thing/at all = demo\n  :more\n"
    )
    data = wheel_bytes(Entry(INFO + b"/entry_points.txt", text))
    assert inspect_bytes(tmp_path, WHEEL_NAME, data).warnings == ()


def test_package_may_be_named_for_a_device() -> None:
    """A project that is named for a device of Windows may have its package, and only that (F34)."""
    for name in ("con/__init__.py", "CON/a.py", "con/"):
        check_portable_name(name, ArchiveLimits(), "con")
    for name in ("con", "con/nul", "nul/a.py", "con/con/a.py"):
        with pytest.raises(Invalid):
            check_portable_name(name, ArchiveLimits(), "con")


def padded(size: int) -> bytes:
    """Return METADATA of exactly `size` bytes."""
    return METADATA + b"\n" + b"A" * (size - len(METADATA) - 1)


SMALL_FILES = sum(len(entry.data) for entry in wheel_entries(Entry(A.name, bytes(8000)))) - 8000
"""Bytes in a wheel besides those of `A` with four digits of bytes."""

LIMITS: list[tuple[str, ArchiveLimits, Callable[[int], bytes], int, str]] = [
    (
        "W55-metadata",
        ArchiveLimits(metadata=200),
        lambda n: wheel_bytes(metadata=padded(n)),
        200,
        "",
    ),
    (
        "W55-wheel-file",
        ArchiveLimits(wheel_file=100),
        lambda n: wheel_bytes(wheel=WHEEL + b"A:" + b"b" * (n - len(WHEEL) - 2)),
        100,
        "",
    ),
    (
        "W53-record",
        ArchiveLimits(record=500),
        lambda n: wheel_bytes(A, record=lines(b"\n" * (n - len(lines())))),
        500,
        "",
    ),
    (
        "W53-record-lines",
        ArchiveLimits(record_lines=21),
        lambda n: wheel_bytes(A, record=lines(b"\n" * (n - 4))),
        20,
        "record_mismatch",
    ),
    (
        "W59-entries",
        ArchiveLimits(entries=20),
        lambda n: wheel_bytes(*(Entry(b"demo/%d" % i) for i in range(n - 4))),
        20,
        "",
    ),
    (
        "W60-name",
        ArchiveLimits(member_name=60),
        lambda n: wheel_bytes(Entry(b"a" * n)),
        60,
        "unsafe_archive",
    ),
    (
        "W60-depth",
        ArchiveLimits(depth=9),
        lambda n: wheel_bytes(Entry(b"/".join([b"a"] * n))),
        9,
        "unsafe_archive",
    ),
    (
        "W57-free",
        ArchiveLimits(free_inflated=9000, inflated_ratio=1),
        lambda n: wheel_bytes(Entry(A.name, bytes(n - SMALL_FILES), DEFLATED)),
        9000,
        "",
    ),
]


@pytest.mark.parametrize(
    ("limits", "build", "limit", "code"),
    [
        pytest.param(limits, build, limit, code or "archive_bomb", id=name)
        for name, limits, build, limit, code in LIMITS
    ],
)
def test_limits(
    tmp_path: Path, limits: ArchiveLimits, build: Callable[[int], bytes], limit: int, code: str
) -> None:
    """A wheel just at a limit is accepted, one byte or file more is refused."""
    inspect_bytes(tmp_path, WHEEL_NAME, build(limit - 1), limits)
    inspect_bytes(tmp_path, WHEEL_NAME, build(limit), limits)
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, build(limit + 1), limits)
    assert caught.value.code == code


def test_refuses_a_directory_over_the_limit_unread(tmp_path: Path) -> None:
    """W59: a million entries are refused by what the end of the file says, in no time."""
    million = zip_bytes([], before=bytes(46_000_000), end={"size": 46_000_000, "offset": 0})
    counted = zip_bytes([], end={"entries": 101, "entries_here": 101})
    for data, limits in ((million, ArchiveLimits()), (counted, ArchiveLimits(entries=100))):
        with pytest.raises(Invalid) as caught:
            inspect_bytes(tmp_path, WHEEL_NAME, data, limits)
        assert caught.value.code == "archive_bomb"


def test_gives_up_at_the_deadline(tmp_path: Path) -> None:
    """An archive that takes too long is given up."""
    ticks = count()
    deadline = Deadline(lambda: float(next(ticks)), 2)
    path = tmp_path / "spooled"
    path.write_bytes(GOOD)
    with path.open("rb") as file, pytest.raises(Invalid) as caught:
        read_structure(file.fileno(), check_portable_name, ArchiveLimits(), deadline)
    assert caught.value.code == "archive_bomb"


def test_a_wheel_is_not_an_sdist(tmp_path: Path) -> None:
    """A wheel renamed to an sdist is refused."""
    with pytest.raises(Invalid):
        inspect_bytes(tmp_path, SDIST_NAME, GOOD)


HEADER_CHANGES = st.dictionaries(
    st.sampled_from(["crc", "size", "compressed", "flags", "method", "offset", "extra_size"]),
    st.sampled_from([0, 1, 3, 6, 8, 30, 0xFFFF]),
    max_size=1,
)
EXTRAS = st.sampled_from([b"", b"abc", NUMBERS_64, unicode_path(A.name), unicode_path(b"b")])
NAMES = st.sampled_from([b"a", b"b", b"a/", b"a/b", b"A", b"c/d"])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Draw a member of a ZIP file that may lie."""
    extra: dict[str, int | bytes] = {"extra": draw(EXTRAS)}
    rare = st.integers(0, 9).map(bool)
    return Entry(
        draw(NAMES),
        draw(st.sampled_from([b"", A.data, bytes(3000)])),
        draw(st.sampled_from([0, 8])),
        local=extra | draw(HEADER_CHANGES),
        central=extra | draw(HEADER_CHANGES),
        listed=draw(rare),
        present=draw(rare),
    )


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
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        deadline = Deadline(lambda: 0.0, 1)
        try:
            archive = read_structure(file.fileno(), check_portable_name, ArchiveLimits(), deadline)
            ours = {
                name: b"".join(member_pieces(archive, member, deadline))
                for name, member in archive.members.items()
            }
        except Invalid:
            return
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert {name: other.read(name) for name in other.namelist()} == ours
        assert other.testzip() is None
        assert {one.filename: one.file_size for one in other.infolist()} == {
            name: len(content) for name, content in ours.items()
        }
