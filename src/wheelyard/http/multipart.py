"""
Parts out of a multipart/form-data body, pushed chunk by chunk: no sockets, no files, no waiting.

python-multipart finds the boundaries. It forgives what lets two readers of one body see different
forms: a body that was cut off, text before the first boundary, a second form behind the last one,
a boundary that might be content. None of that passes here. Follows RFC 7578 and RFC 2046 section
5.1, and for the parameters of a header RFC 2183 and RFC 5987.
"""

import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from wheelyard.errors import Invalid, quoted

BOUNDARY_LIMIT = 70
"""Characters of a boundary, as RFC 2046 has it."""
LINE_END = b"\r\n"
EPILOGUE_LIMIT = 1024
"""Bytes of line ends and blanks that may follow the last boundary."""

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]*[0-9A-Za-z'()+_,./:=?-]")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token in the sense of RFC 2045
_PARAMETER = re.compile(
    rf'[ \t]*;[ \t]*({_TOKEN})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s;"]*)', re.ASCII
)
_ESCAPED = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"(?i:utf-8)'[A-Za-z0-9-]*'((?:%[0-9A-Fa-f]{2}|[!#$&+.^_`|~0-9A-Za-z-])*)")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PLAIN_ENCODINGS = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class PartHead:
    """What the headers of a part say."""

    name: str
    filename: str | None
    """The last component, whichever way its slashes lean; None for a part that is no file."""
    size: int
    """Bytes that the headers took."""


class PartHandler(Protocol):
    """What is done with the parts, in the order of the body; it may raise to stop the reading."""

    def begin_part(self, head: PartHead) -> None:
        """Take the headers of a new part."""

    def part_data(self, data: memoryview) -> None:
        """Take the next bytes of the part; never empty."""

    def end_part(self) -> None:
        """Know that the part is whole."""


class MultipartReader:
    """
    A body taken apart as it arrives; after a fault it is of no more use.

    Args:
        boundary: As `boundary_of` returned it.
        handler: Gets the parts.
        most_parts: How many parts the body may have.
        header_limit: Bytes of the headers of one part.
    """

    def __init__(
        self, boundary: bytes, handler: PartHandler, *, most_parts: int, header_limit: int
    ) -> None:
        self._handler = handler
        self._most_parts = most_parts
        self._header_limit = header_limit
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._data,
                "on_part_end": handler.end_part,
                "on_end": self._end,
            },
            max_header_count=header_limit,
            max_header_size=header_limit,
        )
        self._delimiter = b"\r\n--" + boundary
        self._delimiters = 0
        self._boundaries = 0
        self._matched = 0
        self._first: bytes | None = b""
        self._tail = b"\r\n"  # as if a line had ended before the body: a delimiter begins with that
        self._ended = False
        self._epilogue = b""
        self._headers: dict[bytes, bytes] = {}
        self._headers_size = 0
        self._name = self._value = b""

    def feed(self, chunk: bytes) -> None:
        """
        Take the next bytes of the body, as many as there are.

        Raises:
            Invalid: They break the format (codes `bad_multipart`, `bad_encoding`) or pass a limit
                (code `too_large`); and whatever the handler raises.
        """
        if self._ended:
            self._add_epilogue(chunk)
            return
        chunk = self._without_line_end(chunk)
        self._check_start(chunk)
        seam = len(self._delimiter) - 1
        self._delimiters += chunk.count(self._delimiter)
        self._delimiters += (self._tail[-seam:] + chunk[:seam]).count(self._delimiter)
        if self._parse(chunk):
            _, _, epilogue = (self._tail + chunk).partition(self._delimiter + b"--")
            self._add_epilogue(epilogue)
        elif self._delimiters > self._boundaries + 1:  # one may still lack the end of its line
            raise _boundary_inside()
        self._tail = (self._tail + chunk[-seam - 2 :])[-seam - 2 :]

    def finish(self) -> None:
        """
        Know that no more bytes come.

        Raises:
            Invalid: The body lacks its last boundary, or the line end behind it, which every
                client sends: a body cut anywhere is refused (code `incomplete_body`). Or it has
                its boundary inside a part (code `bad_multipart`).
        """
        if not self._epilogue.startswith(b"\r\n"):
            raise Invalid(
                "The form ends before its closing boundary, so part of it was lost on the way. "
                "Upload it again.",
                code="incomplete_body",
                short="The form is incomplete.",
            )
        if self._delimiters > self._boundaries:
            raise _boundary_inside()

    def _parse(self, chunk: bytes) -> bool:
        """Return whether the last boundary came by."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise bad_multipart("a boundary or a header is damaged") from error
        return self._ended

    def _without_line_end(self, chunk: bytes) -> bytes:
        """Return `chunk` without the one line end that distutils puts before its form."""
        if self._first is None:
            return chunk
        first = self._first + chunk
        self._first = first if len(first) < len(LINE_END) else None
        return b"" if self._first is not None else first.removeprefix(LINE_END)

    def _check_start(self, chunk: bytes) -> None:
        wanted = self._delimiter[2:][self._matched : self._matched + len(chunk)]
        if not chunk.startswith(wanted):
            raise bad_multipart("it does not begin with the boundary that Content-Type names")
        self._matched += len(wanted)

    def _add_epilogue(self, chunk: bytes) -> None:
        self._epilogue += chunk[: EPILOGUE_LIMIT + 1]
        if len(self._epilogue) > EPILOGUE_LIMIT or self._epilogue.strip(b" \t\r\n"):
            raise bad_multipart("something follows its closing boundary")

    def _begin_part(self) -> None:
        self._boundaries += 1
        if self._boundaries > self._most_parts:
            raise Invalid(
                "The form has too many fields. Send each field of the metadata once.",
                code="too_large",
                short="The form has too many fields.",
            )
        self._headers = {}
        self._headers_size = 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, size: int) -> None:
        self._headers_size += size
        if self._headers_size > self._header_limit:
            raise bad_multipart(f"the headers of a part take over {self._header_limit} bytes")

    def _end_header(self) -> None:
        name, value = self._name.lower(), self._value.strip(b" \t")
        self._name = self._value = b""
        if name in self._headers:
            raise bad_multipart("a part has a header twice")
        if _CONTROL.search(value):
            raise bad_multipart("a part's header holds a control character")
        self._headers[name] = value

    def _end_headers(self) -> None:
        self._handler.begin_part(_part_head(self._headers, self._headers_size))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._handler.part_data(memoryview(data)[start:end])

    def _end(self) -> None:
        self._boundaries += 1
        self._ended = True


def boundary_of(content_type: str | bytes | None) -> bytes | None:
    """
    Return the boundary of a form, or None if `content_type` is not multipart/form-data.

    Args:
        content_type: The value of the header, None if there is none. Its charset is not looked at:
            a form is UTF-8.

    Raises:
        Invalid: It is multipart/form-data, but without a boundary of 1 to 70 characters as RFC
            2046 has them (code `bad_multipart`).
    """
    if isinstance(content_type, bytes):
        content_type = content_type.decode("latin-1")
    media_type, found, parameters = (content_type or "").partition(";")
    if media_type.strip().lower() != "multipart/form-data":
        return None
    boundary = _parameters(found + parameters).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary) or len(boundary) > BOUNDARY_LIMIT:
        raise bad_multipart(f"its Content-Type names no boundary of 1 to {BOUNDARY_LIMIT} letters")
    return boundary.encode("ascii")


def bad_multipart(why: str) -> Invalid:
    """Return the fault for a body that breaks the format."""
    return Invalid(
        f"The body is not a well-formed multipart/form-data form: {why}. "
        "Upload with a current client, or with 'curl -F content=@FILE'.",
        code="bad_multipart",
        short="The body is not a well-formed form.",
    )


def _boundary_inside() -> Invalid:
    # Where headers end and `--boundary` follows at once, readers disagree whether a part ends; and
    # each such line in a file costs the parser a slow step.
    return bad_multipart("its boundary occurs inside a part")


def bad_encoding(what: str) -> Invalid:
    """Return the fault for bytes that are not UTF-8."""
    return Invalid(
        f"{what} is not UTF-8. Send the form in UTF-8, whatever charset its headers name.",
        code="bad_encoding",
    )


def _part_head(headers: dict[bytes, bytes], size: int) -> PartHead:
    encoding = headers.get(b"content-transfer-encoding", b"binary").lower().decode("latin-1")
    if encoding not in _PLAIN_ENCODINGS:
        raise bad_multipart(f"it has a part in the transfer encoding {quoted(encoding)}")
    try:
        disposition = headers.get(b"content-disposition", b"").decode()
    except UnicodeDecodeError as error:
        raise bad_encoding("A Content-Disposition header of the form") from error
    kind, found, rest = disposition.partition(";")
    if kind.strip().lower() != "form-data":
        raise bad_multipart("it has a part without 'Content-Disposition: form-data'")
    parameters = _parameters(found + rest)
    if not parameters.get("name"):
        raise bad_multipart("it has a part without a name")
    if any("*" in each and each != "filename*" for each in parameters):
        raise bad_multipart("a part has a name in two spellings, or in pieces")
    return PartHead(parameters["name"], _filename(parameters), size)


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
    plain = parameters.get("filename")
    if plain is not None:
        plain = _last_component(plain)
    if "filename*" not in parameters:
        return plain
    extended = _last_component(_extended(parameters["filename*"]))
    if plain is not None and plain != extended:
        raise bad_multipart("a part has two filenames")
    return extended


def _extended(value: str) -> str:
    match = _EXTENDED.fullmatch(value)
    if match is None:
        raise bad_multipart("a 'filename*' is not UTF-8''PERCENT-ENCODED")
    try:
        return unquote_to_bytes(match[1]).decode()
    except UnicodeDecodeError as error:
        raise bad_encoding("A filename of the form") from error


def _last_component(filename: str) -> str:
    return filename.replace("\\", "/").rpartition("/")[2]
