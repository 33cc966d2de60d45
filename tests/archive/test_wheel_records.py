"""Wheels' RECORD, right and wrong; ids as in the attack list."""

from pathlib import Path

import pytest

from tests.archive.builders import INFO, WHEEL_NAME, Entry, inspect_bytes, record_line, wheel_bytes
from tests.archive.wheels import A, record_lines
from wheelyard.errors import Invalid

RIGHT_LINE = record_line(A)
PADDED = RIGHT_LINE.replace(b",6\n", b"=,6\n")
HEX = b"demo/a.py,sha256=" + b"0" * 64 + b",6\n"

BAD_RECORDS = {
    "W50-fewer": record_lines().replace(RIGHT_LINE, b""),
    "W50-more": record_lines(b"demo/none.py,sha256=a,1\n"),
    "W51-wrong": record_lines().replace(RIGHT_LINE, record_line(Entry(A.name, b"b = 2\n"))),
    "W52-md5": record_lines().replace(RIGHT_LINE, record_line(A, "md5")),
    "W52-sha1": record_lines().replace(RIGHT_LINE, record_line(A, "sha1")),
    "W52-missing": record_lines().replace(RIGHT_LINE, b"demo/a.py,,6\n"),
    "W52-no-column": record_lines().replace(RIGHT_LINE, b"demo/a.py\n"),
    "W52-padded": record_lines().replace(RIGHT_LINE, PADDED),
    "W52-hex": record_lines().replace(RIGHT_LINE, HEX),
    "W52-not-ascii": record_lines().replace(RIGHT_LINE, "demo/a.py,sha256=é,6\n".encode()),
    "W52-contradiction": record_lines(RIGHT_LINE, HEX),
    "other-size": record_lines().replace(b",6\n", b",7\n"),
    "size-0": record_lines().replace(b",6\n", b",0\n"),
    "no-number-as-size": record_lines().replace(b",6\n", b",6.0\n"),
    "negative-size": record_lines().replace(b",6\n", b",-6\n"),
    "size-of-5000-digits": record_lines().replace(b",6\n", b"," + b"6" * 5000 + b"\n"),
    "size-in-other-digits": record_lines().replace(
        b",6\n", ",\N{EXTENDED ARABIC-INDIC DIGIT SIX}\n".encode()
    ),
    "two-sizes": record_lines(RIGHT_LINE.replace(b",6\n", b",7\n")),
    "W53-not-utf8": record_lines(b"\xe9,,\n"),
    "W53-not-csv": record_lines(b'"demo', b"x" * 200_000, b'",,\n'),
    "W53-nul": record_lines(b"\0,,\n"),
    "W53-lines": record_lines(b"\n" * 200_000),
    "W53-fields": record_lines(b"," * 800_000),
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
        pytest.param(record_lines(), id="without-itself"),
        pytest.param(record_lines(RIGHT_LINE), id="twice-alike"),
        pytest.param(record_lines().replace(b",6\n", b",\n"), id="without-a-size"),
        pytest.param(record_lines().replace(b",6\n", b"\n"), id="without-a-column-for-it"),
        pytest.param(record_lines().replace(RIGHT_LINE, record_line(A, "sha512")), id="sha512"),
        pytest.param(record_lines().replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(record_lines(b"demo/,,\n", b"\n"), id="folder-and-blank-line"),
        pytest.param(
            record_lines(INFO + b"/RECORD.jws,,\n", INFO + b"/RECORD.p7s,,\n"), id="W52-signatures"
        ),
        pytest.param(record_lines().replace(b"demo/a", b"demo\\a"), id="W54-backslashes"),
    ],
)
def test_accepts_records(tmp_path: Path, record: bytes) -> None:
    """RECORD may be written in any way that means the same files and hashes."""
    data = wheel_bytes(A, record=record)
    assert inspect_bytes(tmp_path, WHEEL_NAME, data).warnings == ()
