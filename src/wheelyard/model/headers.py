"""
The header format of METADATA, PKG-INFO and WHEEL files.

They are split here and not by `email`, which loses what it cannot read (a repeated
`Requires-Python` disappears), takes a lone carriage return for a new header, and recurses into
nested messages. Everything is linear in the length of the bytes. Follows the core metadata
specifications, where they say how the RFC 822 format is read.
"""

import re
from dataclasses import dataclass

from wheelyard.errors import Invalid, quoted

HEADER_LIMIT = 64 * 1024
"""Characters of one header; `Description` and `License` hold whole documents and are exempt."""
HEADER_COUNT_LIMIT = 10_000

_SPLIT = re.compile(r"\n(?![ \t])")
_HEADER = re.compile(r"([!-9;-~]+):(.*)", re.ASCII | re.DOTALL)
_FOLD = re.compile(r"\n[ \t]+")
_INDENT = re.compile(r"\n(?: {7}\||[ \t]{1,8})")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")

_DOCUMENTS = frozenset({"description", "license"})
_PLACEHOLDER = "UNKNOWN"
"""What old build tools wrote for a field that was not given."""


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of a METADATA, PKG-INFO or WHEEL file, and what follows them."""

    fields: dict[str, tuple[str, ...]]
    """From the name in lower case to its values, in order, still folded."""
    body: str

    def every(self, name: str) -> tuple[str, ...]:
        """Return all values of a field on one line each, without empty ones and placeholders."""
        given = self.fields.get(name)
        if given is None:
            return ()
        values = (_unfolded(name, value) for value in given)
        return tuple(value for value in values if value and value != _PLACEHOLDER)

    def first(self, name: str) -> str | None:
        """Return the first value of a field that is only shown, or None."""
        return next(iter(self.every(name)), None)

    def only(self, name: str) -> str | None:
        """
        Return the value of a field that decides something, or None.

        Raises:
            Invalid: The field is given twice, so clients differ in which one they take (code
                `invalid_metadata`).
        """
        if len(self.fields.get(name, ())) > 1:
            raise refused(f"the field {name.title()} is given more than once")
        return self.first(name)

    def document(self, name: str) -> str | None:
        """Return a value of several lines with the indentation of its header taken off."""
        value = next(iter(self.fields.get(name, ())), "")
        text = _INDENT.sub("\n", value).strip()
        return text if text and text != _PLACEHOLDER else None


def parse_headers(raw: bytes) -> Headers:
    """
    Split the bytes of a METADATA, PKG-INFO or WHEEL file into headers and a body.

    Raises:
        Invalid: They are not UTF-8 text, or a line is no header, or there are more or longer
            headers than the limits (code `invalid_metadata`).
    """
    head, body = _decoded(raw)
    fields: dict[str, list[str]] = {}
    lines = _SPLIT.split(head)
    if len(lines) > HEADER_COUNT_LIMIT:
        raise refused(f"there are more than {HEADER_COUNT_LIMIT} headers")
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise refused("a line is not a header", line)
        name, value = match[1].lower(), match[2]
        if len(value) > HEADER_LIMIT and name not in _DOCUMENTS:
            raise refused(f"a header is longer than {HEADER_LIMIT} characters", match[1])
        fields.setdefault(name, []).append(value)
    return Headers({name: tuple(values) for name, values in fields.items()}, body)


def _decoded(raw: bytes) -> tuple[str, str]:
    try:
        text = raw.replace(b"\r\n", b"\n").decode()
    except UnicodeDecodeError as error:
        raise refused("it is not UTF-8 text") from error
    if text.startswith("\ufeff"):
        raise refused("it begins with a byte order mark")
    if "\0" in text:
        raise refused("it contains a NUL character")
    head, _, body = text.partition("\n\n")
    if "\r" in head:
        raise refused("a header contains a carriage return, where some clients begin a new one")
    return head.rstrip("\n"), body


def _unfolded(name: str, value: str) -> str:
    text = _FOLD.sub(" ", value).strip()
    if _CONTROL.search(text):
        raise refused(f"the field {name.title()} contains a control character", text)
    return text


def refused(reason: str, value: str | None = None) -> Invalid:
    """
    Return the refusal of metadata that clients would be misled by, or read in different ways.

    Args:
        reason: What is wrong, as the rest of a sentence; no values from the file.
        value: The value at fault.
    """
    shown = "" if value is None else f", here {quoted(value)}"
    return Invalid(
        f"The metadata is refused: {reason}{shown}. Correct it and build the file again.",
        code="invalid_metadata",
        short=f"Invalid distribution file: {reason}.",
    )
