"""A strict parser of multipart/form-data bodies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from wheelyard.errors import Invalid, quoted

MAX_BOUNDARY_CHARACTERS: Final = 70
"""Characters of a boundary, as RFC 2046 has it."""
EPILOGUE_LIMIT_BYTES: Final = 1024
"""Bytes of line ends and blanks that may follow the last boundary."""
MAX_PART_HEADERS: Final = 64
"""How many headers a part may have; RFC 7578 knows three."""
PART_HEADERS_LIMIT_BYTES: Final = 16 << 10
"""Bytes of all of them."""
LINE_END: Final = b"\r\n"
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]*[0-9A-Za-z'()+_,./:=?-]")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token in the sense of RFC 2045
_PARAMETER = re.compile(
    rf'[ \t]*;[ \t]*({_TOKEN})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s;"]*)', re.ASCII
)
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"(?i:utf-8)'[A-Za-z0-9-]*'((?:%[0-9A-Fa-f]{2}|[!#$&+.^_`|~0-9A-Za-z-])*)")
_HEADER = re.compile(rb"(?!--)[!-9;-~]+:[^\x00-\x08\x0a-\x1f\x7f]*")
"""A header of a part, whose name could be no boundary."""
_PLAIN_ENCODINGS = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """What the headers of a part say."""

    name: str
    filename: str | None
    """The last component, whichever way its slashes lean; None for a part that is no file."""
    size: int
    """Bytes that the headers took."""


class _StrictParser(PushMultipartParser):  # type: ignore[misc]  # it says nothing of its types
    """The library's parser, which would pass over blanks and control characters around a name."""

    def _on_segment_headerline(self, line: bytes) -> None:
        if not _HEADER.fullmatch(line):
            raise bad_multipart("a header of a part is damaged")
        super()._on_segment_headerline(line)


class MultipartParser:
    """A body taken apart as it arrives; after a fault it is of no more use."""

    def __init__(self, boundary: bytes) -> None:
        self._parser = _StrictParser(
            boundary,
            max_header_size=PART_HEADERS_LIMIT_BYTES,
            max_header_count=MAX_PART_HEADERS,
            header_charset="latin-1",  # every byte stays what it was, and is looked at below
            strict=True,
        )
        self._dashes = b"--" + boundary
        self._closing = LINE_END + self._dashes + b"--"
        self._start = b""
        self._content = b""
        """The first bytes of the part's content."""
        self._tail = LINE_END  # as if a line had ended before the body: a boundary begins with that
        self._epilogue: bytes | None = None
        """What has followed the closing boundary; None as long as that has not come."""

    def feed(self, chunk: bytes) -> Iterator[PartHeaders | bytes | None]:
        """Yield the head of each part, its content in pieces that are not empty, and then None."""
        if self._epilogue is None:
            self._check_start(chunk)
            seen = self._tail + chunk
            closing_at = seen.find(self._closing)
            if closing_at < 0:
                yield from self._events(chunk)
                self._tail = seen[1 - len(self._closing) :]
                return
            end = closing_at + len(self._closing) - len(self._tail)
            yield from self._events(chunk[:end], is_last=True)
            self._epilogue, chunk = b"", chunk[end:]
        self._epilogue += chunk[: EPILOGUE_LIMIT_BYTES + 1]
        if len(self._epilogue) > EPILOGUE_LIMIT_BYTES or self._epilogue.strip(b" \t\r\n"):
            raise bad_multipart("something follows its closing boundary")

    def close(self) -> None:
        """
        Know that no more bytes come.

        Every client sends a line end behind the last boundary, so a body cut anywhere is refused.
        """
        if self._epilogue is None or not self._epilogue.startswith(LINE_END):
            raise Invalid(
                "The form ends before its closing boundary, so part of it was lost on the way. "
                "Upload it again.",
                code="incomplete_body",
                short="The form is incomplete.",
            )

    def _check_start(self, chunk: bytes) -> None:
        """Refuse a body that begins neither with the boundary nor, as distutils', a line before."""
        starts = (self._dashes, LINE_END + self._dashes)
        if len(self._start) < len(starts[1]):
            self._start += chunk[: len(starts[1])]
            if not any(start.startswith(self._start[: len(start)]) for start in starts):
                raise bad_multipart("it does not begin with the boundary that Content-Type names")

    def _events(
        self, chunk: bytes, *, is_last: bool = False
    ) -> Iterator[PartHeaders | bytes | None]:
        try:
            for event in self._parser.parse(chunk) if chunk else ():
                if isinstance(event, MultipartSegment):
                    self._content = b""
                    yield self._part(event.headerlist)
                else:
                    self._check_content(event or b"")
                    yield event
            if is_last:
                self._parser.close()
        except MultipartError as error:
            raise bad_multipart("a boundary or a header is damaged, or too long") from error

    def _check_content(self, data: bytes) -> None:
        """Refuse a boundary right behind the headers: readers disagree whether it ends the part."""
        if len(self._content) < len(self._dashes):
            self._content += data[: len(self._dashes)]
            if self._content.startswith(self._dashes):
                raise bad_multipart("its boundary occurs inside a part")

    def _part(self, headers: list[tuple[str, str]]) -> PartHeaders:
        size = sum(len(name) + len(value) for name, value in headers)
        if size > PART_HEADERS_LIMIT_BYTES:
            raise bad_multipart(f"the headers of a part take over {PART_HEADERS_LIMIT_BYTES} bytes")
        parameters = _disposition(headers)
        if not parameters.get("name"):
            raise bad_multipart("it has a part without a name")
        if any("*" in each and each != "filename*" for each in parameters):
            raise bad_multipart("a part has a name in two spellings, or in pieces")
        return PartHeaders(parameters["name"], _filename(parameters), size)


def parse_boundary(content_type: bytes | None) -> bytes | None:
    """
    Return the boundary of a form, or None if `content_type` is not multipart/form-data.

    Its charset is not looked at: a form is UTF-8.

    Raises:
        Invalid: It is multipart/form-data, but without a boundary of 1 to 70 characters as RFC
            2046 has them (code `bad_multipart`).
    """
    media_type, found, parameters = (content_type or b"").decode("latin-1").partition(";")
    if media_type.strip().lower() != "multipart/form-data":
        return None
    boundary = _parameters(found + parameters).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary) or len(boundary) > MAX_BOUNDARY_CHARACTERS:
        raise bad_multipart(
            f"its Content-Type names no boundary of 1 to {MAX_BOUNDARY_CHARACTERS} letters"
        )
    return boundary.encode("ascii")


def bad_multipart(why: str) -> Invalid:
    """Return the error for a malformed form."""
    return Invalid(
        f"The body is not a well-formed multipart/form-data form: {why}. "
        "Upload with a current client, or with 'curl -F content=@FILE'.",
        code="bad_multipart",
        short="The body is not a well-formed form.",
    )


def bad_encoding(what: str) -> Invalid:
    """Return the error for text that is not UTF-8."""
    return Invalid(
        f"{what} is not UTF-8. Send the form in UTF-8, whatever charset its headers name.",
        code="bad_encoding",
    )


def _disposition(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of the Content-Disposition of a part with these headers."""
    values = dict(headers)
    if len(values) != len(headers):
        raise bad_multipart("a part has a header twice")
    encoding = values.get("Content-Transfer-Encoding", "binary").strip(" \t").lower()
    if encoding not in _PLAIN_ENCODINGS:
        raise bad_multipart(f"it has a part in the transfer encoding {quoted(encoding)}")
    try:
        text = values["Content-Disposition"].encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise bad_encoding("A Content-Disposition header of the form") from error
    _, found, rest = text.partition(";")
    return _parameters(found + rest)


def _parameters(text: str) -> dict[str, str]:
    """Return `; name=value; name="value"` as a dictionary with lower-case names."""
    text = text.rstrip("; \t")
    parameters: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None or match[1].lower() in parameters:
            raise bad_multipart("a header's parameters are damaged or repeated")
        value = match[2]
        if value.startswith('"'):
            # Other backslashes stay: some programs send the folder of the file, C:\dist\x.whl.
            value = _ESCAPED.sub(r"\1", value[1:-1])
        parameters[match[1].lower()] = value
        at = match.end()
    return parameters


def _filename(parameters: dict[str, str]) -> str | None:
    names = [parameters["filename"]] if "filename" in parameters else []
    if "filename*" in parameters:
        match = _EXTENDED.fullmatch(parameters["filename*"])
        if match is None:
            raise bad_multipart("a 'filename*' is not UTF-8''PERCENT-ENCODED")
        try:
            names.append(unquote_to_bytes(match[1]).decode())
        except UnicodeDecodeError as error:
            raise bad_encoding("A filename of the form") from error
    found = {each.replace("\\", "/").rpartition("/")[2] for each in names}
    if len(found) > 1:
        raise bad_multipart("a part has two filenames")
    return found.pop() if found else None
