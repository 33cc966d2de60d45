"""
Incremental, strict parser of multipart/form-data bodies.

It follows RFC 7578, RFC 2046 section 5.1 and, for header parameters, RFC 2183 and RFC 5987. The
library `multipart` finds the parts. This module adds what the library leaves open, as two readers
of a body must never see different forms: no data before the first boundary or after the last one
(but line ends and blanks), no boundary at the start of a part's content, and one meaning for each
name in a part's headers.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from wheelyard.errors import Invalid, quoted

MAX_BOUNDARY_CHARACTERS: Final = 70
"""Characters of a boundary (RFC 2046)."""
EPILOGUE_LIMIT_BYTES: Final = 1024
"""Bytes of line ends and blanks that may follow the closing boundary."""
MAX_PART_HEADERS: Final = 64
"""Headers of a part; RFC 7578 defines three."""
PART_HEADERS_LIMIT_BYTES: Final = 16 << 10
"""Bytes of all headers of a part."""
CACHED_HEADERS: Final = 128
"""How many parts' headers are remembered with what they mean: clients repeat the same fields."""
LINE_END: Final = b"\r\n"

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]*[0-9A-Za-z'()+_,./:=?-]")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token in the sense of RFC 2045
_PARAMETER = re.compile(
    rf'[ \t]*;[ \t]*({_TOKEN})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s;"]*)', re.ASCII
)
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"(?i:utf-8)'[A-Za-z0-9-]*'((?:%[0-9A-Fa-f]{2}|[!#$&+.^_`|~0-9A-Za-z-])*)")
_HEADER = re.compile(rb"(?!--)[!-9;-~]+:[^\x00-\x08\x0a-\x1f\x7f]*")
"""A header line of a part. Its name must not begin like a boundary."""
_UNENCODED = frozenset({"7bit", "8bit", "binary"})
"""Transfer encodings that leave the bytes as they are."""


class PartHeaders(Struct, frozen=True):
    """The parsed headers of one part of a multipart form."""

    name: str
    filename: str | None
    """The last component of the path that was sent; None for a text field."""
    size: int
    """Bytes of the headers."""


class _StrictParser(PushMultipartParser):  # type: ignore[misc]  # the library has no types
    """The library's parser, but a malformed header line of a part is an error."""

    def _on_segment_headerline(self, line: bytes) -> None:
        if not _HEADER.fullmatch(line):
            raise bad_multipart("a header of a part is damaged")
        super()._on_segment_headerline(line)


class MultipartParser:
    """Splits a multipart form into its parts, chunk by chunk. Not usable after an error."""

    def __init__(self, boundary: bytes) -> None:
        self._parser = _StrictParser(
            boundary,
            max_header_size=PART_HEADERS_LIMIT_BYTES,
            max_header_count=MAX_PART_HEADERS,
            header_charset="latin-1",  # keeps every byte; `_disposition` decodes them as UTF-8
            strict=True,
        )
        self._dashes = b"--" + boundary
        self._closing = LINE_END + self._dashes + b"--"
        self._start = b""
        """The first bytes of the body."""
        self._content = b""
        """The first bytes of the current part's content."""
        self._tail = LINE_END  # a boundary begins with a line end, but for the first one
        """The last bytes so far, which could begin the closing boundary."""
        self._epilogue: bytes | None = None
        """The bytes after the closing boundary; None before it has come."""

    def feed(self, chunk: bytes) -> Iterator[PartHeaders | bytes | None]:
        """Parse the next bytes; yield a part's headers, then its content in chunks, then None."""
        chunk, epilogue = self._split(chunk)
        try:
            for event in self._parser.parse(chunk) if chunk else ():
                if isinstance(event, MultipartSegment):
                    self._content = b""
                    yield _part_headers(tuple(event.headerlist))
                    continue
                if event and len(self._content) < len(self._dashes):
                    self._check_content(event)
                yield event
            if self._epilogue is None and epilogue is not None:
                self._parser.close()
                self._epilogue = b""
        except MultipartError as error:
            raise bad_multipart("a boundary or a header is damaged, or too long") from error
        if epilogue:
            self._check_epilogue(epilogue)

    def close(self) -> None:
        """Raise Invalid unless the form has ended with its closing boundary and a line end."""
        if self._epilogue is None or not self._epilogue.startswith(LINE_END):
            raise Invalid(
                "The form ends before its closing boundary, so part of it was lost on the way. "
                "Upload it again.",
                code="incomplete_body",
                short="The form is incomplete.",
            )

    def _check_start(self, chunk: bytes) -> None:
        """Raise Invalid unless the body begins with a boundary, or a line end and a boundary."""
        starts = (self._dashes, LINE_END + self._dashes)
        if len(self._start) < len(starts[1]):
            self._start += chunk[: len(starts[1])]
            if not any(start.startswith(self._start[: len(start)]) for start in starts):
                raise bad_multipart("it does not begin with the boundary that Content-Type names")

    def _split(self, chunk: bytes) -> tuple[bytes, bytes | None]:
        """Return the bytes up to the closing boundary, and those after it, if it has come."""
        if self._epilogue is not None:
            return b"", chunk
        self._check_start(chunk)
        recent = self._tail + chunk
        closing_at = recent.find(self._closing)
        if closing_at < 0:
            self._tail = recent[1 - len(self._closing) :]
            return chunk, None
        end = closing_at + len(self._closing) - len(self._tail)
        return chunk[:end], chunk[end:]

    def _check_content(self, data: bytes) -> None:
        """Raise Invalid if a part's content begins with a boundary, where some parsers end it."""
        self._content += data[: len(self._dashes)]
        if self._content.startswith(self._dashes):
            raise bad_multipart("its boundary occurs inside a part")

    def _check_epilogue(self, data: bytes) -> None:
        """Raise Invalid if more follows the closing boundary than a few line ends and blanks."""
        self._epilogue = (self._epilogue or b"") + data[: EPILOGUE_LIMIT_BYTES + 1]
        if len(self._epilogue) > EPILOGUE_LIMIT_BYTES or self._epilogue.strip(b" \t\r\n"):
            raise bad_multipart("something follows its closing boundary")


def parse_boundary(content_type: bytes | None) -> bytes | None:
    """
    Return the boundary of a form, or None if `content_type` is not multipart/form-data.

    Raise Invalid if the boundary is missing or malformed. A charset is ignored: a form is UTF-8.
    """
    media_type, separator, parameters = (content_type or b"").decode("latin-1").partition(";")
    if media_type.strip().lower() != "multipart/form-data":
        return None
    boundary = _parameters(separator + parameters).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary) or len(boundary) > MAX_BOUNDARY_CHARACTERS:
        raise bad_multipart(
            f"its Content-Type names no boundary of 1 to {MAX_BOUNDARY_CHARACTERS} letters"
        )
    return boundary.encode("ascii")


@lru_cache(CACHED_HEADERS)
def _part_headers(headers: tuple[tuple[str, str], ...]) -> PartHeaders:
    size = sum(len(name) + len(value) for name, value in headers)
    if size > PART_HEADERS_LIMIT_BYTES:
        raise bad_multipart(f"the headers of a part take over {PART_HEADERS_LIMIT_BYTES} bytes")
    parameters = _disposition(headers)
    if not parameters.get("name"):
        raise bad_multipart("it has a part without a name")
    if any("*" in each and each != "filename*" for each in parameters):
        raise bad_multipart("a part has a name in two spellings, or in pieces")
    return PartHeaders(parameters["name"], _filename(parameters), size)


def _disposition(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """
    Return the parameters of the Content-Disposition among a part's headers.

    Raise Invalid if a header occurs twice, or the content has an encoding such as base64.
    """
    values = dict(headers)
    if len(values) != len(headers):
        raise bad_multipart("a part has a header twice")
    encoding = values.get("Content-Transfer-Encoding", "binary").strip(" \t").lower()
    if encoding not in _UNENCODED:
        raise bad_multipart(f"it has a part in the transfer encoding {quoted(encoding)}")
    try:
        text = values["Content-Disposition"].encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise bad_encoding("A Content-Disposition header of the form") from error
    _, separator, rest = text.partition(";")
    return _parameters(separator + rest)


def _parameters(text: str) -> dict[str, str]:
    """Return the header parameters in `; name=value; name="value"`, by lower-case name."""
    text = text.rstrip("; \t")
    parameters: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or match[1].lower() in parameters:
            raise bad_multipart("a header's parameters are damaged or repeated")
        value = match[2]
        if value.startswith('"'):
            # other backslashes stay: some programs send the path of the file, C:\dist\x.whl
            value = _ESCAPED.sub(r"\1", value[1:-1])
        parameters[match[1].lower()] = value
        position = match.end()
    return parameters


def _filename(parameters: dict[str, str]) -> str | None:
    """Return the filename, without folders, that `filename` and `filename*` agree on, or None."""
    names = [parameters["filename"]] if "filename" in parameters else []
    if "filename*" in parameters:
        match = _EXTENDED.fullmatch(parameters["filename*"])
        if match is None:
            raise bad_multipart("a 'filename*' is not UTF-8''PERCENT-ENCODED")
        try:
            names.append(unquote_to_bytes(match[1]).decode())
        except UnicodeDecodeError as error:
            raise bad_encoding("A filename of the form") from error
    filenames = {each.replace("\\", "/").rpartition("/")[2] for each in names}
    if len(filenames) > 1:
        raise bad_multipart("a part has two filenames")
    return filenames.pop() if filenames else None


def bad_multipart(reason: str) -> Invalid:
    """Return the error for a body that is not well-formed multipart/form-data."""
    return Invalid(
        f"The body is not a well-formed multipart/form-data form: {reason}. "
        "Upload with a current client, or with 'curl -F content=@FILE'.",
        code="bad_multipart",
        short="The body is not a well-formed form.",
    )


def bad_encoding(what: str) -> Invalid:
    """Return the error for text that is not UTF-8; `what` names the part of the form."""
    return Invalid(
        f"{what} is not UTF-8. Send the form in UTF-8, whatever charset its headers name.",
        code="bad_encoding",
    )
