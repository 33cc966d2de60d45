"""What is a picture is told by its first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.pictures.formats import HEAD_BYTES, picture_type

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a\1\0", "image/gif"),
        (b"GIF87a\1\0", "image/gif"),
        (b"RIFF\1\2\n\4WEBPVP8X", "image/webp"),
        (b"\0\0\n\x20ftypavif\0\0\0\0", "image/avif"),
        (SVG, "image/svg+xml"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- - -- a -->\n' + SVG, "image/svg+xml"),
        (
            b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://w3.example/s.dtd">\n\n' + SVG,
            "image/svg+xml",
        ),
        (b"<svg>", "image/svg+xml"),
        (b"<svg\nwidth='1'>", "image/svg+xml"),
    ],
)
def test_known_types(body: bytes, expected: str) -> None:
    """Pictures of the usual types, and SVG with what may stand before it, are known."""
    assert picture_type(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"GIF",
        b"<html><svg></svg></html>",
        b"<!DOCTYPE html><svg>",
        b'<!DOCTYPE svg [<!ENTITY a "b">]><svg>',
        b"<svgx>",
        b"<script>alert(1)</script><svg>",
        b"text <svg>",
        b"\xff\xfe<\0s\0v\0g\0>\0",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x20ftypisom",
        b"%PDF-1.7",
        b"BM\0\0",
        b" " * HEAD_BYTES + SVG,
        b"<!--" + b"-" * 100_000,
        b"<?xml " * 10_000,
    ],
)
def test_anything_else_is_no_picture(body: bytes) -> None:
    """HTML, other files, and SVG with entities of its own are no pictures."""
    assert picture_type(body) == ""


@given(st.binary(max_size=64))
def test_no_bytes_are_too_much(body: bytes) -> None:
    """Whatever the bytes are, there is an answer."""
    assert picture_type(body) in {"", "image/png", "image/jpeg", "image/gif"}
