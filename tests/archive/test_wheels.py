"""Wheels: what is accepted, and what is refused with which code; ids as in the attack list."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.archive.builders import (
    DEFLATED,
    EXPERIMENTAL,
    INFO,
    METADATA,
    NUMBERS_64,
    SDIST_NAME,
    UNCHANGED,
    WHEEL,
    WHEEL_NAME,
    A,
    Entry,
    Fields,
    Limit,
    coded,
    deflated,
    extra_field,
    inspect_bytes,
    record_line,
    refused_beyond,
    unicode_path,
    wheel_bytes,
    wheel_entries,
    zip_bytes,
)
from wheelyard.archive.archive_rules import (
    MIB,
    ArchiveLimits,
    Deadline,
    check_portable_name,
)
from wheelyard.archive.distribution_reader import read_distribution
from wheelyard.errors import Invalid, Unavailable, WheelyardError
from wheelyard.model.distribution_filename import parse_filename

GOOD = wheel_bytes()
UTF8 = {"flags": 1 << 11}
LICENSE = b"License-File: LICENSE\n"


def changed(
    local: Fields = UNCHANGED, central: Fields = UNCHANGED, both: Fields = UNCHANGED
) -> bytes:
    """Return a wheel in which one entry's headers have other fields."""
    return wheel_bytes(Entry(A.name, A.data, local=local, central=central, both=both))


def named(*names: str) -> bytes:
    """Return a wheel with further members of these names."""
    return wheel_bytes(*(Entry(name.encode(), both=UTF8) for name in names))


def packed(data: bytes) -> bytes:
    """Return a wheel in which one entry has other deflated data."""
    return wheel_bytes(Entry(A.name, A.data, DEFLATED, packed=data))


def ended(**end: int) -> bytes:
    """Return a wheel whose end record has other fields."""
    return zip_bytes(wheel_entries(), end=end)


def widened(*, end: Fields | None = None, **records: Fields) -> bytes:
    """Return a wheel that ends with 64-bit records."""
    return zip_bytes(wheel_entries(), end=end, wide=records)


def commands(text: bytes) -> bytes:
    """Return a wheel with these entry points."""
    return wheel_bytes(Entry(INFO + b"/entry_points.txt", text, DEFLATED))


def record_lines(*others: bytes) -> bytes:
    """Return a RECORD that is right for a wheel with the member `A`, and further lines."""
    listed = [record_line(entry) for entry in wheel_entries(A) if b"RECORD" not in entry.name]
    return b"".join((*listed, *others))


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


UNSAFE_NAMES = {
    "nul": "demo/a\0b.py",
    "newline": "demo/a\nb.py",
    "parent": "../evil.py",
    "absolute": "/etc/x",
    "drive": "C:/x",
    "drive-backslash": "C:\\x",
    "network-host": "//host/x",
    "backslash": "..\\evil.py",
    "plain-backslash": "demo\\evil.py",
    "parent-folders-below-scripts": "demo-1.0.data/scripts/../../../evil",
    "dot": "demo/./a",
    "empty-part": "demo//a",
    "empty-part-at-the-end": "demo//",
    "blank-at-the-end": "demo/a ",
    "trailing-dot": "demo/a.",
    "trailing-dot-folder": "demo./a",
    "device": "demo/CON",
    "device-lower": "nul/a",
    "device-console": "demo/conout$",
    "device-superscript": "demo/COM\N{SUPERSCRIPT ONE}",
    "colon": "demo/a:b",
    "no-name": "",
    "file-and-folder": "demo/__init__.py/b.py",
    "part-of-256": "demo/" + "a" * 256,
    "long": "demo/" + "a" * 1020,
    "deep": "a/" * 64 + "a",
}
CONTROLS = (
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x85\x9b\u2028\u2029"
)
"""Characters by which a name is shown otherwise than it is written."""
BAD_COMMANDS = (
    *(b"[console_scripts]\na b = demo:x", b"[console_scripts]\n= demo:x", b"[a]\nx = 1\nx = 2"),
    *(b"x = demo:x", b"[a]\nhello", b"[a\nx = 1", b"[a]\n[a]\n", b"[a]\n\xe9 = 1"),
    *(
        b"[console_scripts]\nfoo = " + value
        for value in (
            *(b"demo:x; import os", b"demo:x()", b"demo:x\n  import os", b"demo:x\n  y = demo:z"),
            *(b"demo; import os:x", b"demo:x [a] + 1", b"demo.:x", b"1demo:x", b"demo", b""),
        )
    ),
)
RIGHT_LINE = record_line(A)
PADDED = RIGHT_LINE.replace(b",6\n", b"=,6\n")
HEX = b"demo/a.py,sha256=" + b"0" * 64 + b",6\n"

BAD_RECORDS = {
    "member-not-listed": record_lines().replace(RIGHT_LINE, b""),
    "listed-but-absent": record_lines(b"demo/none.py,sha256=a,1\n"),
    "digest-of-other-bytes": record_lines().replace(
        RIGHT_LINE, record_line(Entry(A.name, b"b = 2\n"))
    ),
    "md5": record_lines().replace(RIGHT_LINE, record_line(A, "md5")),
    "sha1": record_lines().replace(RIGHT_LINE, record_line(A, "sha1")),
    "no-digest": record_lines().replace(RIGHT_LINE, b"demo/a.py,,6\n"),
    "no-column": record_lines().replace(RIGHT_LINE, b"demo/a.py\n"),
    "padded-digest": record_lines().replace(RIGHT_LINE, PADDED),
    "digest-in-hex": record_lines().replace(RIGHT_LINE, HEX),
    "digest-not-ascii": record_lines().replace(RIGHT_LINE, "demo/a.py,sha256=é,6\n".encode()),
    "two-lines-that-contradict": record_lines(RIGHT_LINE, HEX),
    "other-size": record_lines().replace(b",6\n", b",7\n"),
    "size-0": record_lines().replace(b",6\n", b",0\n"),
    "no-number-as-size": record_lines().replace(b",6\n", b",6.0\n"),
    "negative-size": record_lines().replace(b",6\n", b",-6\n"),
    "size-of-5000-digits": record_lines().replace(b",6\n", b"," + b"6" * 5000 + b"\n"),
    "size-in-other-digits": record_lines().replace(
        b",6\n", ",\N{EXTENDED ARABIC-INDIC DIGIT SIX}\n".encode()
    ),
    "two-sizes": record_lines(RIGHT_LINE.replace(b",6\n", b",7\n")),
    "name-not-utf8": record_lines(b"\xe9,,\n"),
    "not-csv": record_lines(b'"demo', b"x" * 200_000, b'",,\n'),
    "name-with-nul": record_lines(b"\0,,\n"),
    "too-many-lines": record_lines(b"\n" * 200_000),
    "too-many-fields": record_lines(b"," * 800_000),
}
REFUSED: dict[str, dict[str, Callable[[], bytes]]] = {
    "invalid_archive": {
        "text": lambda: b"hello\n" * 100,
        "png": lambda: b"\x89PNG\r\n\x1a\n" + bytes(99),
        "no-bytes": lambda: b"",
        "zeros": lambda: bytes(21),  # read from -1 on, an end without comment
        "bytes-before": lambda: zip_bytes(wheel_entries(), before=b"#!/bin/sh\n"),
        "bytes-after": lambda: GOOD + b"junk",
        "comment-8-bit": lambda: zip_bytes(wheel_entries(), comment=b"\xe9"),
        "comment-with-PK": lambda: zip_bytes(wheel_entries(), comment=b"a PK b"),
        "entry-comment": lambda: changed(central={"comment": b"c"}),
        "concatenated": lambda: GOOD + GOOD,
        "end-in-comment": lambda: zip_bytes(wheel_entries(), comment=GOOD[-22:]),
        "two-ends": lambda: GOOD + GOOD[-22:],
        "count-low": lambda: ended(entries=3, entries_here=3),
        "count-high": lambda: ended(entries=5, entries_here=5),
        "counts-differ": lambda: ended(entries_here=3),
        "size-off": lambda: ended(size=200),
        "offset-off": lambda: ended(offset=100),
        "split-over-disks": lambda: ended(disk=1),
        "begins-on-another-disk": lambda: ended(start=1),
        "64-bit-end-differs": lambda: widened(end={"entries": 3}),
        "no-64-bit-locator": lambda: widened(no_locator={}),
        "locator-elsewhere": lambda: widened(locator={"offset": 7}),
        "locator-two-disks": lambda: widened(locator={"disks": 2}),
        "no-64-bit-end": lambda: widened(no_end64={}),
        "64-bit-end-with-extensible-data": lambda: widened(end64={"rest": 45}),
        "nothing-but-markers": lambda: ended(offset=0xFFFFFFFF),
        "64-bit-field-of-5-bytes": lambda: changed(both={"extra": extra_field(1, bytes(5))}),
        "64-bit-field-of-12-bytes": lambda: changed(both={"extra": extra_field(1, bytes(12))}),
        "64-bit-field-twice": lambda: changed(both={"extra": extra_field(1, b"") * 2}),
        "64-bit-field-that-differs": lambda: changed(both={"extra": extra_field(1, bytes(16))}),
        "empty-64-bit-field-that-is-needed": lambda: changed(central={"size": 0xFFFFFFFF}),
        "no-64-bit-field-that-is-needed": lambda: wheel_bytes(
            Entry(A.name, A.data, DEFLATED, both={"size": 0xFFFFFFFF})
        ),
        "64-bit-field-that-corrects-a-header": lambda: changed(
            both={"extra": NUMBERS_64, "size": 5, "compressed": 5}
        ),
        "64-bit-field-without-the-disk": lambda: changed(
            central={"extra": NUMBERS_64, "disk": 0xFFFF}
        ),
        "entry-on-the-second-disk": lambda: changed(central={"disk": 1}),
        "entry-on-the-third-disk": lambda: changed(central={"disk": 2}),
        "one-name-twice": lambda: wheel_bytes(A, A),
        "METADATA-twice": lambda: wheel_bytes(
            Entry(INFO + b"/METADATA", METADATA + b"Requires-Dist: evil\n")
        ),
        "entry-not-in-the-directory": lambda: wheel_bytes(Entry(A.name, A.data, listed=False)),
        "last-entry-not-in-the-directory": lambda: zip_bytes(
            [*wheel_entries(), Entry(A.name, A.data, listed=False)]
        ),
        "bytes-behind-the-data": lambda: wheel_bytes(Entry(A.name, A.data, tail=b"x")),
        "bytes-before-the-directory": lambda: zip_bytes(wheel_entries(), between=b"x"),
        "entry-only-in-the-directory": lambda: wheel_bytes(Entry(A.name, A.data, present=False)),
        "local-signature-damaged": lambda: changed(local={"signature": b"PK\3\5"}),
        "directory-signature-damaged": lambda: changed(central={"signature": b"PK\1\3"}),
        "names-differ": lambda: changed(local={"name": b"demo/b.py"}),
        "lengths-of-names-differ": lambda: changed(local={"name": b"demo/a.pyc"}),
        "checksums-differ": lambda: changed(local={"crc": 1}),
        "checksum-of-other-bytes": lambda: changed(both={"crc": 1}),
        "sizes-differ": lambda: changed(local={"size": 7}),
        "compressed-sizes-differ": lambda: changed(local={"compressed": 7}),
        "methods-differ": lambda: changed(local={"method": 8}),
        "encrypted": lambda: changed(both={"flags": 1}),
        "strongly-encrypted": lambda: changed(both={"flags": 1 | 1 << 6}),
        "header-values-masked": lambda: changed(both={"flags": 1 << 13}),
        "one-header-twice": lambda: changed(central={"offset": 0}),
        "entry-inside-the-data-of-another": lambda: wheel_bytes(
            Entry(b"demo/z", GOOD), Entry(b"demo/q", b"", central={"offset": 90})
        ),
        "offset-beyond-the-end": lambda: changed(central={"offset": 1 << 30}),
        "unicode-path-of-another-name": lambda: changed(both={"extra": unicode_path(b"demo/b.py")}),
        "unicode-path-twice": lambda: changed(both={"extra": unicode_path(A.name) * 2}),
        "extra-field-cut": lambda: changed(both={"extra": b"abc"}),
        "extra-field-too-long": lambda: changed(both={"extra": b"\x55\x54\xff\0abc"}),
        "local-extra-size-too-long": lambda: changed(local={"extra_size": 0xFFFF}),
        "central-extra-size-too-long": lambda: changed(central={"extra_size": 0xFFFF}),
        "experimental-extra-field": lambda: changed(both={"extra": EXPERIMENTAL[0]}),
        "experimental-local-extra-field": lambda: changed(local={"extra": EXPERIMENTAL[1]}),
        "needs-a-later-version-of-zip": lambda: changed(central={"version": 64}),
        "flagged-utf8-but-is-not": lambda: wheel_bytes(Entry(b"demo/\xe9", both=UTF8)),
        "name-not-ascii-without-the-utf8-flag": lambda: wheel_bytes(Entry("demo/é".encode())),
        "folder-of-DOS": lambda: changed(central={"maker": 20, "attributes": 0x10}),
        "label-of-DOS": lambda: changed(central={"maker": 20, "attributes": 0x08}),
        "file-then-folder": lambda: wheel_bytes(A, Entry(A.name + b"/")),
        "normal-form-in-ascii": lambda: wheel_bytes(
            Entry(b"demo/K.py"), Entry("demo/\u212a.py".encode(), both=UTF8)
        ),
        "folder-with-data": lambda: wheel_bytes(Entry(b"demo/d/", b"data")),
        "two-dist-info": lambda: wheel_bytes(Entry(b"other-1.0.dist-info/x")),
        "size-of-fewer-bytes": lambda: changed(both={"size": 3}),
        "inflates-to-more": lambda: wheel_bytes(
            Entry(A.name, bytes(MIB), DEFLATED, both={"size": 9})
        ),
        "inflates-to-less": lambda: wheel_bytes(Entry(A.name, b"", 8, both={"size": 9})),
        "tar-header-at-the-beginning": tar_in_front,
        "bytes-behind-deflate": lambda: packed(deflated(A.data) + b"x"),
        "much-behind-deflate": lambda: packed(deflated(A.data) + bytes(MIB)),
        "deflate-cut": lambda: packed(deflated(A.data)[:-1]),
        "deflate-damaged": lambda: packed(b"\xff" * 9),
        **{f"method-{n}": partial(changed, both={"method": n}) for n in (1, 9, 12, 14, 93, 99)},
        **{
            f"normal-forms{end}": partial(named, f"demo/caf\u00e9{end}x", f"demo/cafe\u0301{end}x")
            for end in ("", "/", "/y")
        },
    },
    "unsafe_archive": {
        "folder-below-file": lambda: wheel_bytes(A, Entry(A.name + b"/d/")),
        **{key: partial(named, name) for key, name in UNSAFE_NAMES.items()},
        **{f"character-{ord(each):x}": partial(named, f"demo/a{each}yp.b") for each in CONTROLS},
        **{
            f"command-{text!r}": partial(commands, text)
            for text in (
                b"[console_scripts]\n../../evil = demo:x",
                b"[gui_scripts]\n..\\evil = demo:x",
                b"[console_scripts]\n.. = demo:x",
            )
        },
        **{
            f"mode-{mode:o}": partial(changed, central={"attributes": mode << 16})
            for mode in (0o120777, 0o020666, 0o060666, 0o010666, 0o140777, 0o040755)
        },
    },
    "archive_bomb": {
        "description-of-20-MB": lambda: wheel_bytes(metadata=METADATA + b"\n" + b"A" * 20_000_000),
        "large-entry-points": lambda: commands(b"[a]\n" + b"#" * MIB),
        "claims-4-GB": lambda: changed(both={"size": 0xFFFFFFF0}),
        "inflates-to-65-MiB-of-zeros": lambda: wheel_bytes(
            Entry(A.name, bytes(65 * MIB), DEFLATED)
        ),
    },
    "missing_metadata": {
        "no-members": lambda: zip_bytes([]),
        "no-dist-info": lambda: zip_bytes([A]),
        "dist-info-of-another-name": lambda: wheel_bytes(info=b"other-1.0.dist-info"),
        "dist-info-of-another-version": lambda: wheel_bytes(info=b"demo-2.dist-info"),
        "dist-info-without-a-version": lambda: wheel_bytes(info=b"demo.dist-info"),
        "no-METADATA": lambda: zip_bytes(wheel_entries(metadata=None)),
        "no-WHEEL": lambda: wheel_bytes(wheel=None),
        "no-RECORD": lambda: zip_bytes(wheel_entries(with_record=False)),
    },
    "invalid_metadata": {
        "wheel-version-2.0": lambda: wheel_bytes(wheel=b"Wheel-Version: 2.0\n"),
        "no-wheel-version": lambda: wheel_bytes(wheel=b"Tag: py3-none-any\n"),
        "wheel-version-no-number": lambda: wheel_bytes(wheel=b"Wheel-Version: one\n"),
        "METADATA-not-utf8": lambda: wheel_bytes(metadata=METADATA + b"Author: \xe9"),
        "no-Name": lambda: wheel_bytes(metadata=b"Metadata-Version: 2.1\n"),
        **{f"entry-points-{text!r}": partial(commands, text) for text in BAD_COMMANDS},
        "no-licence-file": lambda: wheel_bytes(metadata=METADATA + LICENSE),
    },
    "name_mismatch": {
        "METADATA-of-another-name": lambda: wheel_bytes(
            metadata=METADATA.replace(b"demo", b"other")
        )
    },
    "version_mismatch": {
        "METADATA-of-another-version": lambda: wheel_bytes(
            metadata=METADATA.replace(b"1.0", b"1.1")
        )
    },
    "record_mismatch": {
        key: partial(wheel_bytes, A, record=record) for key, record in BAD_RECORDS.items()
    },
}


@pytest.mark.parametrize(("build", "code"), coded(REFUSED))
def test_a_dishonest_wheel_is_refused(
    tmp_path: Path, build: Callable[[], bytes], code: str
) -> None:
    """A file that is no honest wheel is refused, with the code for what is wrong."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, build())
    assert caught.value.code == code
    assert caught.value.message.isascii()
    assert caught.value.fact.startswith(("The file is refused: ", "The metadata is refused: ", "'"))


def test_refuses_every_cut(tmp_path: Path) -> None:
    """A wheel that is cut off is refused, wherever the cut is."""
    for length in range(0, len(GOOD), 64):
        with pytest.raises(Invalid) as caught:
            inspect_bytes(tmp_path, WHEEL_NAME, GOOD[:length])
        assert caught.value.code == "invalid_archive"


@pytest.mark.parametrize("tail", [b"", bytes(16)], ids=["none", "16-bytes"])
def test_refuses_data_descriptors(tmp_path: Path, tail: bytes) -> None:
    """A wheel with sizes behind its data is refused, and the message names the data descriptor."""
    data = wheel_bytes(Entry(A.name, A.data, tail=tail, both={"flags": 1 << 3}))
    with pytest.raises(Invalid, match=r"\(a data descriptor\)") as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert caught.value.code == "invalid_archive"


def test_a_wheel_is_not_an_sdist(tmp_path: Path) -> None:
    """A wheel renamed to an sdist is refused."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, SDIST_NAME, GOOD)
    assert caught.value.code == "invalid_archive"


def test_package_may_be_named_for_a_device() -> None:
    """A project named like a device of Windows may have its package, and no other such name."""
    for name in ("con/__init__.py", "CON/a.py", "con/"):
        check_portable_name(name, ArchiveLimits(), "con")
    for name in ("con", "con/nul", "nul/a.py", "con/con/a.py"):
        with pytest.raises(Invalid):
            check_portable_name(name, ArchiveLimits(), "con")


ACCEPTED: dict[str, bytes] = {
    "ascii-comment": zip_bytes(wheel_entries(), comment=b"hello"),
    "zip64": widened(),
    "zip64-markers": widened(
        end={"entries": 0xFFFF, "entries_here": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF}
    ),
    "64-bit-sizes-in-the-local-header": changed(
        local={"extra": NUMBERS_64, "size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF}
    ),
    "64-bit-sizes-that-agree": changed(both={"extra": NUMBERS_64}),
    "empty-64-bit-field": changed(both={"extra": extra_field(1, b"")}),
    "unicode-path-of-the-same-name": changed(both={"extra": unicode_path(A.name)}),
    "time-stamps": changed(local={"extra": b"UT\5\0\1abcd"}),
    "name-flagged-utf8": named("demo/é.py"),
    "name-as-macOS-writes-it": named("demo/cafe\u0301.py", "demo/cafe\u0301/x.py"),
    "device-with-suffix": wheel_bytes(Entry(b"demo/aux.py")),
    "folder": wheel_bytes(Entry(b"demo/d/")),
    "folder-deflated": wheel_bytes(Entry(b"demo/d/", b"", DEFLATED)),
    "folder-deflated-to-nothing": wheel_bytes(Entry(b"demo/d/", b"", DEFLATED, packed=b"")),
    "folder-with-mode": wheel_bytes(Entry(b"demo/d/", central={"attributes": 0o040755 << 16})),
    "setuid": changed(central={"attributes": 0o106755 << 16}),
    "dist-info-in-upper-case": wheel_bytes(info=b"Demo-1.0.dist-info"),
    "dist-info-with-an-equal-version": wheel_bytes(info=b"demo-1.0.0.dist-info"),
    "vendored-dist-info": wheel_bytes(Entry(b"demo/_vendor/other-1.dist-info/METADATA")),
    "zip-in-the-wheel": wheel_bytes(Entry(b"demo/a.zip", GOOD)),
    "60-MiB-of-zeros": wheel_bytes(Entry(b"demo/zeros", bytes(60 * MIB), DEFLATED)),
    "licence-file": wheel_bytes(
        Entry(INFO + b"/licenses/LICENSE", b"free"), metadata=METADATA + LICENSE
    ),
    "licence-file-missing-before-2.4": wheel_bytes(
        metadata=METADATA.replace(b"2.4", b"2.1") + LICENSE
    ),
    "any-order": zip_bytes(reversed(wheel_entries())),
    **{
        f"time-{name}": changed(both={"date": date, "time": time})
        for name, date, time in (("1979", 0, 0), ("2108", 0xFFFF, 0), ("62s", 33, 31))
    },
    **{
        f"RECORD-{key}": wheel_bytes(A, record=record)
        for key, record in {
            "without-itself": record_lines(),
            "twice-alike": record_lines(RIGHT_LINE),
            "without-a-size": record_lines().replace(b",6\n", b",\n"),
            "without-a-column-for-it": record_lines().replace(b",6\n", b"\n"),
            "sha512": record_lines().replace(RIGHT_LINE, record_line(A, "sha512")),
            "crlf": record_lines().replace(b"\n", b"\r\n"),
            "folder-and-blank-line": record_lines(b"demo/,,\n", b"\n"),
            "lost-signatures": record_lines(INFO + b"/RECORD.jws,,\n", INFO + b"/RECORD.p7s,,\n"),
            "backslashes": record_lines().replace(b"demo/a", b"demo\\a"),
        }.items()
    },
}
WARNED: dict[str, dict[str, bytes]] = {
    "Windows cannot have": {
        f"character-{character}": named(f"demo/a{character}.txt") for character in '<>"|?*'
    },
    "upper and lower case": {"demo/A.py": wheel_bytes(Entry(b"demo/A.py"), A)},
    "newer than this index": {
        "wheel-version-1.9": wheel_bytes(wheel=WHEEL.replace(b"1.0", b"1.9"))
    },
    "differ": {
        "no-tags": wheel_bytes(wheel=b"Wheel-Version: 1.0\n"),
        "more-tags": wheel_bytes(wheel=WHEEL.replace(b"py3", b"py2.py3")),
    },
    "PEP 815": {
        f"RECORD{suffix}": wheel_bytes(
            Entry(INFO + b"/RECORD" + suffix.encode(), b"x"), A, record=record_lines()
        )
        for suffix in (".jws", ".p7s")
    },
    "newer": {"metadata-version-2.99": wheel_bytes(metadata=METADATA.replace(b"2.4", b"2.99"))},
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_a_wheel_that_all_install_alike_is_accepted(tmp_path: Path, data: bytes) -> None:
    """A wheel that every client installs in the same way is accepted without a warning."""
    contents = inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert contents.core.name == "demo"
    assert contents.warnings == ()


def test_serves_the_exact_metadata(tmp_path: Path) -> None:
    """The core metadata of a wheel is METADATA byte for byte, odd line ends included."""
    raw = METADATA.replace(b"\n", b"\r\n") + b"X-Unknown: 1\r\n\r\nRead me.\n"
    assert inspect_bytes(tmp_path, WHEEL_NAME, wheel_bytes(metadata=raw)).metadata == raw


@pytest.mark.parametrize(("data", "warning"), coded(WARNED))
def test_what_breaks_some_platforms_is_a_warning(tmp_path: Path, data: bytes, warning: str) -> None:
    """What breaks only some platforms or tools is accepted with a warning."""
    contents = inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert warning in contents.warnings[0]
    assert len(contents.warnings) == 1


def test_a_short_line_that_stands_for_many_tags_is_not_expanded(tmp_path: Path) -> None:
    """A WHEEL file with a set of a million tags costs no memory, also behind the right tag."""
    hundred = b".".join(b"%d" % number for number in range(100))
    data = wheel_bytes(wheel=WHEEL + b"Tag: " + b"-".join([hundred] * 3) + b"\n")

    tracemalloc.start()
    try:
        contents = inspect_bytes(tmp_path, WHEEL_NAME, data)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()

    assert contents.warnings == ("The tags in WHEEL differ from those in the filename.",)


def test_compressed_tags_in_wheel_file_are_the_same_tags(tmp_path: Path) -> None:
    """A WHEEL file may write its tags as compressed as the filename."""
    data = wheel_bytes(wheel=WHEEL.replace(b"py3", b"py2.py3"))
    contents = inspect_bytes(tmp_path, "demo-1.0-py2.py3-none-any.whl", data)
    assert contents.warnings == ()


def padded(size: int) -> bytes:
    """Return METADATA of exactly `size` bytes."""
    return METADATA + b"\n" + b"A" * (size - len(METADATA) - 1)


def blank_lines(size: int) -> bytes:
    """Return a RECORD of exactly `size` bytes."""
    return record_lines(b"\n" * (size - len(record_lines())))


def entries(count: int) -> list[Entry]:
    """Return so many members."""
    return [Entry(b"demo/%d" % number) for number in range(count)]


SMALL_FILES = sum(len(entry.data) for entry in wheel_entries(Entry(A.name, bytes(8000)))) - 8000
"""Bytes in a wheel besides those of `A` with four digits of bytes."""

LIMITS: dict[str, dict[str, Limit]] = {
    "archive_bomb": {
        "size-of-METADATA": (200, {"metadata": 200}, lambda n: wheel_bytes(metadata=padded(n))),
        "size-of-WHEEL": (100, {"wheel_file": 100}, lambda n: wheel_bytes(wheel=WHEEL.ljust(n))),
        "size-of-RECORD": (500, {"record": 500}, lambda n: wheel_bytes(A, record=blank_lines(n))),
        "entries": (20, {"entries": 20}, lambda n: wheel_bytes(*entries(n - 4))),
        "inflated-bytes": (
            9000,
            {"free_inflated": 9000, "inflated_ratio": 1},
            lambda n: wheel_bytes(Entry(A.name, bytes(n - SMALL_FILES), DEFLATED)),
        ),
    },
    "record_mismatch": {
        "lines-of-RECORD": (
            20,
            {"record_lines": 21},
            lambda n: wheel_bytes(A, record=record_lines(b"\n" * (n - 4))),
        )
    },
    "unsafe_archive": {
        "length-of-a-name": (60, {"member_name": 60}, lambda n: named("a" * n)),
        "depth-of-a-name": (9, {"depth": 9}, lambda n: named("/".join("a" * n))),
    },
}


@pytest.mark.parametrize(("limit", "code"), coded(LIMITS))
def test_a_wheel_beyond_a_limit_is_refused(tmp_path: Path, limit: Limit, code: str) -> None:
    """A wheel at a limit is accepted; one byte, file, line or folder more is refused."""
    assert refused_beyond(tmp_path, WHEEL_NAME, limit) == code


def test_refuses_a_directory_over_the_limit_unread(tmp_path: Path) -> None:
    """Entries beyond the limit are refused by the count that the end of the file has."""
    million = zip_bytes([], before=bytes(46_000_000), end={"size": 46_000_000, "offset": 0})
    counted = zip_bytes([], end={"entries": 101, "entries_here": 101})
    for data, limits in ((million, ArchiveLimits()), (counted, ArchiveLimits(entries=100))):
        with pytest.raises(Invalid) as caught:
            inspect_bytes(tmp_path, WHEEL_NAME, data, limits)
        assert caught.value.code == "archive_bomb"


@pytest.mark.parametrize(
    ("processor", "wall", "fault"),
    [
        (1.0, 0.0, (Invalid, "archive_bomb")),
        (0.0, 400.0, (Unavailable, "too_busy")),
    ],
)
def test_an_archive_answers_for_its_own_processor_time(
    tmp_path: Path, processor: float, wall: float, fault: tuple[type[WheelyardError], str]
) -> None:
    """A wheel that takes much time is refused; on a busy machine, send it again."""
    ticks, moments = count(), count()
    deadline = Deadline(lambda: processor * next(ticks), 2, lambda: wall * next(moments))
    path = tmp_path / "spooled"
    path.write_bytes(GOOD)
    wheel = parse_filename(WHEEL_NAME)
    with pytest.raises(WheelyardError) as caught:
        read_distribution(path, wheel, limits=ArchiveLimits(), deadline=deadline)
    assert (type(caught.value), caught.value.code) == fault


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (GOOD[:-30], "Send it again."),
        (changed(local={"extra_size": 0xFFFF}), "Send it again."),
        (named("demo/b:c.py"), "Rename that file of the project"),
        (wheel_bytes(info=b"other-1.0.dist-info"), "the name that the build tool has given it."),
        (wheel_bytes(A, record=b""), "'wheel pack'"),
        (wheel_bytes(A, record=BAD_RECORDS["name-with-nul"]), "RECORD contains a NUL character"),
        (REFUSED["invalid_archive"]["inflates-to-more"](), "a member is longer than its header"),
        (packed(b"\xff" * 9), "a member cannot be inflated"),
        (ended(entries=3, entries_here=3), "its directory has more entries than its end says"),
        (changed(central={"comment": b"c"}), "is cut off, or has a comment"),
        (named(""), "a member has no name"),
    ],
    ids=[
        *("cut", "extra field cut", "colon", "another name", "nothing listed", "NUL in RECORD"),
        *("longer", "no deflate", "one entry more", "comment of an entry", "no name"),
    ],
)
def test_a_refusal_says_why_and_what_helps(tmp_path: Path, data: bytes, advice: str) -> None:
    """The message of a refusal says its reason, and advises what helps against it."""
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert advice in caught.value.message


def test_accepts_entry_points(tmp_path: Path) -> None:
    """Entry points may have comments, blank lines, continued values and other groups."""
    text = (
        b"# what\n; else\n\n[console_scripts]\na.b-c_1 = demo:x [extra]\n"
        b"d = demo._sub.mod : Class.main\n  [one, two-3]\ne=demo:x\n"
        b"[gui_scripts]\n  f = demo:x\n  g = demo:y\n"
        b"[pytest11]\nany thing/at all = demo\n  :more\n"
    )
    data = wheel_bytes(Entry(INFO + b"/entry_points.txt", text))
    assert inspect_bytes(tmp_path, WHEEL_NAME, data).warnings == ()
