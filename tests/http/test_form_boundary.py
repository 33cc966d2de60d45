"""Boundaries of upload forms, and cuts anywhere; U numbers as in the list of attacks."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.forms import (
    BOUNDARY,
    DATA,
    GOOD,
    SHA256,
    chunks_of,
    code_of,
    file,
    form,
    read,
    upload,
)
from wheelyard.errors import IndexFault, Invalid
from wheelyard.http.form import boundary_of


def test_truncated() -> None:
    """U44: a form that was cut anywhere is none."""
    for at in range(len(GOOD)):
        assert code_of(GOOD[:at]) == "incomplete_body"


def test_boundary_at_every_seam() -> None:
    """A boundary is found wherever two chunks meet."""
    for at in range(len(GOOD)):
        assert upload([GOOD[:at], GOOD[at:]]).sha256 == SHA256


@pytest.mark.parametrize(
    "data",
    [
        DATA + b"\r\n--" + BOUNDARY + b"x",
        b"--" + BOUNDARY + b"--\r\n",
        b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; name=a\r\n\r\n",
        (b"\r\n--" + BOUNDARY + b"x") * 30_000,
    ],
    ids=["once", "the last, where headers end", "another there", "often"],
)
@pytest.mark.parametrize("size", [10, 1 << 18])
def test_boundary_inside(data: bytes, size: int) -> None:
    """A line that begins like a boundary, and is none, is refused: readers disagree about it."""
    assert code_of(chunks_of(form(file(data=data)), size)) == "bad_multipart"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"application/json",
        b"application/x-www-form-urlencoded",
        b"multipart/mixed; boundary=b",
        b"text/plain\xff",
    ],
)
def test_no_form(content_type: bytes | None) -> None:
    """U37, U38, U39: another media type is no form at all."""
    assert boundary_of(content_type) is None


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data;charset=latin-1; BOUNDARY="a b/c=d"', b"a b/c=d"),
        (b"multipart/form-data; boundary====12==", b"===12=="),
        (b"multipart/form-data; boundary=" + b"b" * 70, b"b" * 70),
    ],
)
def test_boundary(content_type: bytes, boundary: bytes) -> None:
    """A boundary comes bare or quoted, among other parameters."""
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        b"; boundary=",
        b'; boundary=""',
        b"; boundary=" + b"b" * 71,
        b"; boundary=b; boundary=c",
        b'; boundary="a "',
        b'; boundary="\r\n"',
        b"; boundary=\xe9",
        b"; boundary=a b",
        b"; x",
    ],
)
def test_bad_boundary(parameters: bytes) -> None:
    """U40, U42: a form without a boundary of the right kind is refused."""
    with pytest.raises(Invalid) as caught:
        boundary_of(b"multipart/form-data" + parameters)

    assert caught.value.code == "bad_multipart"


@given(
    at=st.integers(0, len(GOOD)),
    removed=st.integers(0, 40),
    put=st.binary(max_size=8) | st.sampled_from([b"\r\n", b"--" + BOUNDARY, b'"', b";", b"\r"]),
    size=st.sampled_from([1, 5, 1 << 20]),
)
def test_mutation(at: int, removed: int, put: bytes, size: int) -> None:
    """A damaged body is refused on purpose, or is a form; whichever, in any chunks."""
    body = GOOD[:at] + put + GOOD[at + removed :]

    def outcome(pieces: Iterable[bytes]) -> object:
        try:
            return read(pieces)
        except IndexFault:
            return "refused"

    assert outcome(chunks_of(body, size)) == outcome([body])
