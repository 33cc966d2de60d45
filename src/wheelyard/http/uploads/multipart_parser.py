"""
Incremental, strict parser of multipart/form-data bodies (RFC 7578).

The library `multipart` finds the parts. This module refuses what the library lets pass: data before
the first boundary or after the last one (but line ends and blanks), a part with an encoding, and a
Content-Disposition with other parameters than the name and the filename.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from wheelyard.errors import Invalid, quoted

EPILOGUE_LIMIT_BYTES: Final = 1024
"""Bytes of line ends and blanks that may follow the closing boundary."""
MAX_PART_HEADERS: Final = 8
"""Headers of a part; RFC 7578 defines three."""
PART_HEADER_LIMIT_BYTES: Final = 4 << 10
"""Bytes of one header of a part."""
LINE_END: Final = b"\r\n"

_BOUNDARY = re.compile(
    r'"([0-9A-Za-z\'()+_,./:=? -]{0,69}[0-9A-Za-z\'()+_,./:=?-])"'
    r"|([0-9A-Za-z'()+_,./:=?-]{1,70})"
)
_VALUE = r'("[^"]*"|[^\s;"]+)'
_DISPOSITION = re.compile(
    rf"form-data[ \t]*;[ \t]*name={_VALUE}"
    rf"(?:[ \t]*;[ \t]*filename={_VALUE})?"
    r"(?:[ \t]*;[ \t]*filename\*=utf-8'[a-z0-9-]*'([^\s;\"']+))?[ \t;]*",
    re.IGNORECASE,
)
"""The parameters in the order of all clients."""
_UNENCODED = frozenset({"7bit", "8bit", "binary"})
"""Transfer encodings that leave the bytes as they are."""


class PartHeaders(Struct, frozen=True):
    """The parsed headers of one part of a multipart form."""

    name: str
    filename: str | None
    """The last component of the path that was sent; None for a text field."""
    size: int
    """Bytes of the headers."""


class MultipartParser:
    """Splits a multipart form into its parts, chunk by chunk. Not usable after an error."""

    def __init__(self, boundary: bytes) -> None:
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=PART_HEADER_LIMIT_BYTES,
            max_header_count=MAX_PART_HEADERS,
            strict=True,
        )
        self._opening = b"--" + boundary
        self._closing = LINE_END + self._opening + b"--"
        self._has_begun = False
        """Whether enough has come to tell that the body begins with the boundary."""
        self._recent = b""
        """The last bytes, with which the closing boundary may begin; at first all bytes."""
        self._epilogue: bytes | None = None
        """The bytes after the closing boundary; None before it has come."""

    def feed(self, chunk: bytes) -> Iterator[PartHeaders | bytes | None]:
        """Parse the next bytes; yield a part's headers, then its content in chunks, then None."""
        if not self._has_begun:
            chunk = self._recent + chunk
            if len(chunk) < len(LINE_END + self._opening):
                self._recent = chunk
                return
            if not chunk.removeprefix(LINE_END).startswith(self._opening):
                raise bad_multipart("it does not begin with the boundary that Content-Type names")
            self._has_begun, self._recent = True, LINE_END
        if self._epilogue is None:
            recent = self._recent + chunk
            closing_at = recent.find(self._closing)
            if closing_at < 0:
                self._recent = recent[1 - len(self._closing) :]
                yield from self._events(chunk)
                return
            end = closing_at + len(self._closing) - len(self._recent)
            yield from self._events(chunk[:end], is_last=True)
            self._epilogue, chunk = b"", chunk[end:]
        self._epilogue += chunk[: EPILOGUE_LIMIT_BYTES + 1]
        if len(self._epilogue) > EPILOGUE_LIMIT_BYTES or self._epilogue.strip(b" \t\r\n"):
            raise bad_multipart("something follows its closing boundary")

    def close(self) -> None:
        """Raise Invalid unless the form has ended with its closing boundary and a line end."""
        if self._epilogue is None or not self._epilogue.startswith(LINE_END):
            raise Invalid(
                "The form ends before its closing boundary, so part of it was lost on the way. "
                "Upload it again.",
                code="incomplete_body",
            )

    def _events(
        self, chunk: bytes, *, is_last: bool = False
    ) -> Iterator[PartHeaders | bytes | None]:
        try:
            for event in self._parser.parse(chunk) if chunk else ():
                is_start = isinstance(event, MultipartSegment)
                yield _part_headers(tuple(event.headerlist)) if is_start else event
            if is_last:
                self._parser.close()
        except MultipartError as error:
            if isinstance(error.args[-1], UnicodeDecodeError):
                raise bad_encoding("A header of a part of the form") from error
            raise bad_multipart("a boundary or a header is damaged, or too long") from error


def parse_boundary(content_type: bytes | None) -> bytes | None:
    """
    Return the boundary of a form, or None if `content_type` is not multipart/form-data.

    Raise Invalid if the boundary is missing or malformed. A charset is ignored: a form is UTF-8.
    """
    media_type, *parameters = (content_type or b"").decode("latin-1").split(";")
    if media_type.strip().lower() != "multipart/form-data":
        return None
    named = [each.partition("=") for each in parameters]
    boundaries = [
        value.strip(" \t") for name, _, value in named if name.strip().lower() == "boundary"
    ]
    match = _BOUNDARY.fullmatch(boundaries[0]) if len(boundaries) == 1 else None
    if match is None:
        raise bad_multipart("its Content-Type does not name one boundary of 1 to 70 letters")
    return (match[1] or match[2]).encode("ascii")


@lru_cache(128)  # clients send the same fields each time
def _part_headers(lines: tuple[tuple[str, str], ...]) -> PartHeaders:
    headers = dict(lines)
    if len(headers) != len(lines):
        raise bad_multipart("a part has a header twice")
    encoding = headers.get("Content-Transfer-Encoding", "binary").strip(" \t").lower()
    if encoding not in _UNENCODED:
        raise bad_multipart(f"it has a part in the transfer encoding {quoted(encoding)}")
    match = _DISPOSITION.fullmatch(headers["Content-Disposition"])
    if match is None or not (name := match[1].strip('"')):
        raise bad_multipart("a part has other parameters than one name and one filename")
    filenames = [] if match[2] is None else [match[2].strip('"')]
    if match[3] is not None:
        try:
            filenames.append(unquote_to_bytes(match[3]).decode())
        except UnicodeDecodeError as error:
            raise bad_encoding("A filename of the form") from error
    # some programs send the path of the file, such as C:\dist\x.whl
    plain = {each.replace("\\", "/").rpartition("/")[2] for each in filenames}
    if len(plain) > 1:
        raise bad_multipart("a part has two filenames")
    size = sum(len(header) + len(value) for header, value in lines)
    return PartHeaders(name, next(iter(plain), None), size)


def bad_multipart(reason: str) -> Invalid:
    """Return the error for a body that is not well-formed multipart/form-data."""
    return Invalid(
        f"The body is not a well-formed multipart/form-data form: {reason}. "
        "Upload with a current client, or with 'curl -F content=@FILE'.",
        code="bad_multipart",
    )


def bad_encoding(what: str) -> Invalid:
    """Return the error for text that is not UTF-8; `what` names the part of the form."""
    return Invalid(
        f"{what} is not UTF-8. Send the form in UTF-8, whatever charset its headers name.",
        code="bad_encoding",
    )
