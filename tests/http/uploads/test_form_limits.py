"""Upload forms at their limits, of size, memory and work."""

import resource
import sys
import tracemalloc
from hashlib import md5, sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from tests.http.forms import (
    BOUNDARY,
    DATA,
    SHA256,
    Part,
    chunks_of,
    code_of,
    file,
    form,
    part,
    text,
    upload,
    uploads,
)
from tests.operations.in_memory_index import ALICE
from wheelyard.errors import Forbidden, TooLarge, Unavailable
from wheelyard.http.upload_form import (
    FIELD_LIMIT_BYTES,
    FIELDS_LIMIT_BYTES,
    MAX_PARTS,
    PART_HEADER_LIMIT_BYTES,
    FormReader,
)
from wheelyard.model.access import Caller
from wheelyard.operations.uploads import UploadRules
from wheelyard.storage.spool import Spool

if TYPE_CHECKING:
    from _typeshed import TraceFunction

FULL = text("a", "x" * FIELD_LIMIT_BYTES)
"""A field that has as many bytes as one may have."""


@pytest.mark.parametrize(
    ("code", "good", "bad"),
    [
        ("too_large", [text("a")] * (MAX_PARTS - 1), [text("a")] * MAX_PARTS),
        ("too_large", [FULL], [text("a", "x" * (FIELD_LIMIT_BYTES + 1))]),
        ("too_large", [FULL] * 7, [FULL] * (FIELDS_LIMIT_BYTES // FIELD_LIMIT_BYTES)),
        ("too_large", [], [file("x", "x.asc", bytes(FIELD_LIMIT_BYTES + 1))]),
        (
            "bad_multipart",
            [part("name=abc", b"", "A: " + "x" * (PART_HEADER_LIMIT_BYTES - 3))],
            [part("name=abc", b"", "A: " + "x" * (PART_HEADER_LIMIT_BYTES - 2))],
        ),
    ],
    ids=["parts", "field", "fields", "ignored file", "header"],
)
def test_limits_are_exact(code: str, good: list[Part], bad: list[Part]) -> None:
    """A form that reaches a limit passes, and one that passes a limit is refused."""
    assert upload(form(*good, file())).size == len(DATA)
    assert code_of(form(*bad, file())) == code


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A folder of scratch files that is a test's own."""
    return Spool(tmp_path)


def test_file_over_the_limit_goes_no_further(spool: Spool) -> None:
    """A file is refused with the first byte over the limit, and goes no further."""
    small = replace(uploads(), spool=spool, rules=UploadRules(max_size=300))
    reader = FormReader(BOUNDARY, small, ALICE)
    reader.feed(file(data=bytes(300))[:-2])

    with pytest.raises(TooLarge) as caught:
        reader.feed(b"xx")

    assert caught.value.fact == "File too large, the limit is 300 bytes."
    assert [path.read_bytes() for path in spool.folder.iterdir()] == [bytes(300)]
    reader.close()
    assert list(spool.folder.iterdir()) == []


def test_refused_before_the_first_byte(spool: Spool) -> None:
    """Who may not upload a file is told so before its first byte has come."""
    reader = FormReader(BOUNDARY, replace(uploads(), spool=spool), Caller("token:x", ()))
    head, _, _ = file().partition(DATA)

    with pytest.raises(Forbidden):
        reader.feed(head)

    assert list(spool.folder.iterdir()) == []


def test_digests_are_made_while_writing(spool: Spool) -> None:
    """The digests that come before a file are made while it is written, not by reading it again."""
    sent = {"sha256_digest": sha256(DATA), "md5_digest": md5(DATA, usedforsecurity=False)}
    reader = FormReader(BOUNDARY, replace(uploads(), spool=spool), ALICE)
    reader.feed(form(*(text(name, each.hexdigest()) for name, each in sent.items()), file()))
    for scratch in spool.folder.iterdir():
        scratch.unlink()

    received = reader.finish(b"")

    reader.close()
    assert received is not None
    assert received.sha256 == SHA256


def test_full_disk_makes_no_whole_file(spool: Spool) -> None:
    """A file of which the disk takes only the beginning is not taken for a whole one."""
    reader = FormReader(BOUNDARY, replace(uploads(), spool=spool), ALICE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, before[1]))
    try:
        with pytest.raises(Unavailable):
            reader.feed(file(data=bytes((1 << 18) + 1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        reader.close()


def test_stuck_scratch_file_changes_nothing(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    """A scratch file that cannot be removed changes nothing about what becomes of a form."""
    reader = FormReader(BOUNDARY, replace(uploads(), spool=spool), ALICE)
    reader.feed(file()[:-10])
    (scratch,) = spool.folder.iterdir()
    scratch.unlink()
    scratch.mkdir()

    reader.close()

    assert "a scratch file stays" in caplog.text


@pytest.mark.parametrize("filler", [b"\r", b"\r\n", b"\r\n--", b"\r\n--" + BOUNDARY[:-1], b"-"])
def test_work_does_not_depend_on_the_file(filler: bytes) -> None:
    """The cost of reading an upload does not depend on the content of the file."""
    data = filler * ((1 << 20) // len(filler))

    assert steps_of(data) < 2 * steps_of(bytes(1 << 20)) < 10_000


def steps_of(data: bytes) -> int:
    """Return how many lines of Python it takes to read an upload, in four pieces."""
    body, taken = form(file(data=data)), 0
    upload(chunks_of(body, 1 << 18))  # what is imported or compiled once is not counted

    def note(*_: object) -> "TraceFunction":
        nonlocal taken
        taken += 1
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        upload(chunks_of(body, 1 << 18))
    finally:
        sys.settrace(before)
    return taken


def test_unknown_field_is_not_kept_in_memory() -> None:
    """A large unknown field is not kept in memory."""
    tracemalloc.start()
    reader = FormReader(BOUNDARY, uploads(), ALICE)
    reader.feed(text("description", "")[:-2])
    for _ in range(3 << 6):
        reader.feed(b"A" * (1 << 14))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 19
