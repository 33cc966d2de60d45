"""Wheels: what is refused, with which code; ids as in the attack list."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archive.builders import (
    DEFLATED,
    INFO,
    METADATA,
    SDIST_NAME,
    WHEEL_NAME,
    Entry,
    deflated,
    fields,
    inspect_bytes,
    wheel_bytes,
    wheel_entries,
    zip_bytes,
)
from tests.archive.wheels import (
    EXPERIMENTAL,
    GOOD,
    MIB,
    A,
    changed,
    extra_field,
    unicode_path,
    widened,
)
from wheelyard.errors import Invalid


def ended(**end: int) -> bytes:
    """Return a wheel whose end record has other fields."""
    return zip_bytes(wheel_entries(), end=end)


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
    ("W01-zeros", lambda: bytes(21), "invalid_archive"),  # read from -1 on, an end without comment
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
    ("W29-experimental", lambda: changed(both=fields(extra=EXPERIMENTAL[0])), ""),
    ("W29-experimental-local", lambda: changed(local={"extra": EXPERIMENTAL[1]}), ""),
    ("W30-later-version", lambda: changed(central={"version": 64}), ""),
    ("W31-not-utf8", lambda: wheel_bytes(Entry(b"demo/\xe9", both=fields(flags=1 << 11))), ""),
    ("W31-cp437", lambda: wheel_bytes(Entry("demo/é".encode())), ""),
    ("W37-folder-of-DOS", lambda: changed(central={"maker": 20, "attributes": 0x10}), ""),
    ("W37-label-of-DOS", lambda: changed(central={"maker": 20, "attributes": 0x08}), ""),
    ("W40-file-then-folder", lambda: wheel_bytes(A, Entry(A.name + b"/")), ""),
    (
        "W40-folder-below-file",
        lambda: wheel_bytes(A, Entry(A.name + b"/d/")),
        "unsafe_archive",
    ),
    *(
        (
            f"W40-normal-forms{folder}",
            lambda folder=folder: wheel_bytes(
                Entry(f"demo/caf\u00e9{folder}x".encode(), both=fields(flags=1 << 11)),
                Entry(f"demo/cafe\u0301{folder}x".encode(), both=fields(flags=1 << 11)),
            ),
            "",
        )
        for folder in ("", "/", "/y")
    ),
    (
        "W40-normal-form-in-ascii",
        lambda: wheel_bytes(
            Entry(b"demo/K.py"), Entry("demo/\u212a.py".encode(), both=fields(flags=1 << 11))
        ),
        "",
    ),
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


def test_refuses_every_cut(tmp_path: Path) -> None:
    """W02: a wheel that was cut off anywhere is refused."""
    for length in range(0, len(GOOD), 64):
        with pytest.raises(Invalid) as caught:
            inspect_bytes(tmp_path, WHEEL_NAME, GOOD[:length])
        assert caught.value.code == "invalid_archive"


@pytest.mark.parametrize("tail", [b"", bytes(16)], ids=["none", "16-bytes"])
def test_refuses_data_descriptors(tmp_path: Path, tail: bytes) -> None:
    """W24: a wheel that says to have sizes behind its data is refused for that, in these words."""
    data = wheel_bytes(Entry(A.name, A.data, tail=tail, both=fields(flags=1 << 3)))
    with pytest.raises(Invalid, match=r"\(a data descriptor\)") as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, data)
    assert caught.value.code == "invalid_archive"


def test_a_wheel_is_not_an_sdist(tmp_path: Path) -> None:
    """A wheel renamed to an sdist is refused."""
    with pytest.raises(Invalid):
        inspect_bytes(tmp_path, SDIST_NAME, GOOD)
