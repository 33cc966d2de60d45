"""Upload forms at their limits, of size, memory and work; U numbers as in the list of attacks."""

import sys
import tracemalloc
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from tests.http.forms import (
    BOUNDARY,
    DATA,
    GOOD,
    Part,
    chunks_of,
    code_of,
    file,
    form,
    part,
    read,
    text,
    upload,
)
from wheelyard.errors import Invalid, TooLarge
from wheelyard.http.form import FormLimits, FormReader

if TYPE_CHECKING:
    from _typeshed import TraceFunction

LIMITS = FormLimits(file=300, parts=4, field=50, fields=400, header=120)


@pytest.mark.parametrize(
    ("code", "good", "bad"),
    [
        ("too_large", [text("a")] * 3, [text("a")] * 4),
        ("too_large", [text("a", "x" * 50)], [text("a", "x" * 51)]),
        ("too_large", [text("a", "x" * 50)] * 3, [part("name=a", b"x" * 50, "A: " + "x" * 70)] * 3),
        ("too_large", [file("x", "x.asc", b"x" * 50)], [file("x", "x.asc", b"x" * 51)]),
        (
            "bad_multipart",
            [part("name=abc", b"", "A: " + "x" * 81)],
            [part("name=abc", b"", "A: " + "x" * 82)],
        ),
    ],
    ids=["parts", "field", "fields", "ignored file", "header"],
)
def test_limits(code: str, good: list[Part], bad: list[Part]) -> None:
    """U28, U29, U30, U52: what reaches a limit passes, and what passes it does not."""
    assert upload(form(*good, file()), LIMITS).file.size == len(DATA)
    assert code_of(form(*bad, file()), LIMITS) == code


def test_file_limit() -> None:
    """U58: a file is refused with the first byte over the limit, and goes no further."""
    sink = BytesIO()
    reader = FormReader(BOUNDARY, limits=LIMITS, open_file=lambda _: sink)
    reader.feed(file(data=bytes(300))[:-2])

    with pytest.raises(TooLarge) as caught:
        reader.feed(b"xx")

    assert caught.value.short == "File too large, the limit is 300 bytes."
    assert sink.getvalue() == bytes(300)
    assert upload(form(file(data=bytes(300))), LIMITS).file.size == 300


def test_refused_before_the_first_byte() -> None:
    """Whoever opens the sink sees the filename first, and may refuse it."""
    seen = []

    def refuse(filename: str) -> BytesIO:
        seen.append(filename)
        raise Invalid("No.", code="invalid_filename")

    reader = FormReader(BOUNDARY, limits=FormLimits(), open_file=refuse)
    head, _, _ = file(filename="a\u0130.whl").partition(DATA)
    with pytest.raises(Invalid):
        reader.feed(head)

    assert seen == ["a\u0130.whl"]


def test_slow_sink() -> None:
    """A sink may take less than it is given."""

    class Sip(BytesIO):
        def write(self, data: memoryview, /) -> int:  # type: ignore[override]
            return super().write(data[:5])

    sink = Sip()
    read(GOOD, sink=sink)

    assert sink.getvalue() == DATA


@pytest.mark.parametrize("filler", [b"\r", b"\r\n", b"\r\n--", b"\r\n--" + BOUNDARY[:-1], b"-"])
def test_work(filler: bytes) -> None:
    """No content of a file makes it dearer to read than any other: nobody looks at each byte."""
    data = filler * ((1 << 20) // len(filler))

    assert steps_of(data) < 2 * steps_of(bytes(1 << 20)) < 10_000


def steps_of(data: bytes) -> int:
    """Return how many lines of Python it takes to read an upload, in four pieces."""
    body, taken = form(file(data=data)), 0

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


def test_memory() -> None:
    """A field of megabytes that nobody keeps is not kept."""
    tracemalloc.start()
    reader = FormReader(BOUNDARY, limits=FormLimits(), open_file=lambda _: BytesIO())
    reader.feed(text("description", "")[:-2])
    for _ in range(3 << 6):
        reader.feed(b"A" * (1 << 14))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 19
