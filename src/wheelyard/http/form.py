"""
The form of an upload, checked as it arrives: the file goes to a sink, next to nothing is kept.

A field may be missing, empty or UNKNOWN, and an unknown one is ignored; but text must be text, in
UTF-8. Follows the upload API of the packaging specifications (the "legacy" API) over RFC 7578.
"""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Protocol

from wheelyard.errors import Invalid, quoted
from wheelyard.http.claims import (
    ACTION,
    CLAIM_FIELDS,
    RETIRED_ACTIONS,
    Form,
    RetiredAction,
    SpooledFile,
    are_attestations,
    claim_of,
    form_of,
)
from wheelyard.http.multipart import MultipartReader, PartHead, bad_encoding
from wheelyard.model.distribution import Sha256
from wheelyard.operations.upload import file_too_large

FILE_FIELD = "content"
CLAIM_LIMIT = 1024
"""Characters of a field that is kept."""
ATTESTATIONS = "attestations"
ATTESTATIONS_LIMIT = 512 << 10
"""Characters of `attestations`: checking its JSON takes some twenty times as much memory."""

_NEVER_THE_FILE = frozenset({"gpg_signature", ATTESTATIONS})
_NUL = re.compile("\x00")
_NOT_ON_A_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Sink(Protocol):
    """Where the bytes of the file go; the reader never closes it."""

    def write(self, data: memoryview, /) -> int:
        """Take some of `data`, all if possible, and return how many bytes that was."""


@dataclass(frozen=True, slots=True)
class FormLimits:
    """How much a form may hold; sizes in bytes."""

    file: int = 1 << 30
    parts: int = 20_000
    field: int = 4 << 20
    """One part that is not the package."""
    fields: int = 32 << 20
    """All parts that are not the package, and the headers of all parts."""
    header: int = 16 << 10
    """The headers of one part."""


class FormReader:
    """
    A form read from chunks, in one thread; after a fault it is of no more use.

    Args:
        boundary: As `boundary_of` returned it.
        limits: How much the form may hold.
        open_file: Called once, with the filename, before the first byte of the file; it may refuse
            by raising, and returns where the bytes go. The name has been through no check.
        suffixes: How a file's name must end to be taken for the package when it is not `content`.
    """

    def __init__(
        self,
        boundary: bytes,
        *,
        limits: FormLimits,
        open_file: Callable[[str], Sink],
        suffixes: tuple[str, ...] = (".whl", ".tar.gz"),
    ) -> None:
        self._limits = limits
        self._open_file = open_file
        self._suffixes = suffixes
        self._reader = MultipartReader(
            boundary, self, most_parts=limits.parts, header_limit=limits.header
        )
        self._seen: set[str] = set()
        self._claims: dict[str, str] = {}
        self._file: _FilePart | None = None
        self._other_file: str | None = None
        self._has_attestations = False
        self._part: _Part = _IgnoredPart()
        self._part_size = 0
        self._fields_size = 0

    def feed(self, chunk: bytes) -> None:
        """
        Take the next bytes of the body, as many as there are.

        Raises:
            Invalid: They can belong to no upload that we take.
            TooLarge: The file is over its limit.
        """
        self._reader.feed(chunk)

    def finish(self) -> Form | RetiredAction:
        """
        Return the form, once the whole body has been fed.

        Raises:
            Invalid: The body was cut off (code `incomplete_body`), it has no file (code
                `missing_field`), or `filetype` contradicts the file's name (code
                `invalid_filename`).
        """
        self._reader.finish()
        action = self._claims.get(ACTION)
        if action in RETIRED_ACTIONS:
            return RetiredAction(action)
        if self._file is None:
            raise _no_file(self._other_file, self._suffixes)
        file = self._file.spooled()
        return form_of(self._claims, file, has_attestations=self._has_attestations)

    def begin_part(self, head: PartHead) -> None:
        """Choose what becomes of the part."""
        self._part_size = 0
        self._count(head.size)
        if head.name in CLAIM_FIELDS:
            if head.name in self._seen:
                raise _duplicate(head.name)
            self._seen.add(head.name)
        if head.filename is None:
            self._part = self._text_part(head.name)
        else:
            self._part = self._file_part(head.name, head.filename)

    def part_data(self, data: memoryview) -> None:
        """Pass bytes on to the part, counted unless they are the package's."""
        if self._part is not self._file:
            self._part_size += len(data)
            if self._part_size > self._limits.field:
                raise _oversized("A field of the form", self._limits.field)
            self._count(len(data))
        self._part.write(data)

    def end_part(self) -> None:
        """Let the part check itself as a whole."""
        self._part.end()

    def _count(self, size: int) -> None:
        self._fields_size += size
        if self._fields_size > self._limits.fields:
            raise _oversized("The form without its file", self._limits.fields)

    def _text_part(self, name: str) -> "_Part":
        if name == FILE_FIELD:
            raise Invalid(
                "The field 'content' must be a file, with a filename. "
                "With curl, write 'content=@FILE'.",
                code="invalid_field",
            )
        if name in CLAIM_FIELDS:
            return _TextPart(name, _NOT_ON_A_LINE, CLAIM_LIMIT, partial(self._claim, name))
        if name == ATTESTATIONS:
            return _TextPart(name, _NUL, ATTESTATIONS_LIMIT, self._attest)
        return _TextPart(name, _NOT_ON_A_LINE if name == "summary" else _NUL)

    def _claim(self, name: str, text: str) -> None:
        claim = claim_of(name, text)
        if claim is not None:
            self._claims[name] = claim

    def _attest(self, text: str) -> None:
        self._has_attestations |= are_attestations(text)

    def _file_part(self, name: str, filename: str) -> "_Part":
        if name in CLAIM_FIELDS:
            raise Invalid(
                f"The field {quoted(name)} must be text, and it was sent as a file.",
                code="invalid_field",
            )
        self._has_attestations |= name == ATTESTATIONS
        if not self._is_package(name, filename):
            if name not in _NEVER_THE_FILE and not filename.endswith(".asc"):
                self._other_file = filename
            return _IgnoredPart()
        if self._file is not None:
            raise Invalid(
                "The form has more than one package. Upload one file at a time.",
                code="duplicate_field",
            )
        if not filename:
            raise Invalid(
                "The file of the form has no filename. Send the name that the build tool gave it.",
                code="invalid_filename",
            )
        self._file = _FilePart(filename, self._open_file(filename), self._limits.file)
        return self._file

    def _is_package(self, name: str, filename: str) -> bool:
        return name == FILE_FIELD or (
            name not in _NEVER_THE_FILE and filename.endswith(self._suffixes)
        )


class _Part(Protocol):
    """What one part of the form turns into."""

    def write(self, data: memoryview) -> None: ...

    def end(self) -> None: ...


class _IgnoredPart:
    """A file that is not the package, such as a signature."""

    def write(self, data: memoryview) -> None:
        pass

    def end(self) -> None:
        pass


class _FilePart:
    """The package, on its way to the sink."""

    def __init__(self, filename: str, sink: Sink, limit: int) -> None:
        self._filename = filename
        self._sink = sink
        self._limit = limit
        self._size = 0
        self._sha256 = sha256()

    def write(self, data: memoryview) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise file_too_large(self._limit)
        self._sha256.update(data)
        while data:
            data = data[self._sink.write(data) :]

    def end(self) -> None:
        if not self._size:
            raise Invalid(
                f"The file {quoted(self._filename)} is empty. Build it again.",
                code="invalid_archive",
            )

    def spooled(self) -> SpooledFile:
        return SpooledFile(self._filename, self._size, Sha256(self._sha256.hexdigest()))


class _TextPart:
    """A field, decoded and checked as it comes, and kept only if somebody wants it whole."""

    def __init__(
        self,
        name: str,
        forbidden: re.Pattern[str],
        limit: int = 0,
        accept: Callable[[str], None] | None = None,
    ) -> None:
        self._name = name
        self._forbidden = forbidden
        self._limit = limit
        self._accept = accept
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._pieces: list[str] = []
        self._length = 0

    def write(self, data: bytes | memoryview) -> None:
        self._take(bytes(data), final=False)

    def end(self) -> None:
        self._take(b"", final=True)
        if self._accept is not None:
            self._accept("".join(self._pieces))

    def _take(self, data: bytes, *, final: bool) -> None:
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise bad_encoding(f"The field {quoted(self._name)}") from error
        if self._forbidden.search(text):
            raise Invalid(
                f"The field {quoted(self._name)} holds a character that does not belong in "
                "text of its kind. Remove control characters and line breaks.",
                code="invalid_field",
            )
        if self._accept is not None:
            self._pieces.append(text)
            self._length += len(text)
            if self._length > self._limit:
                raise Invalid(
                    f"The field {quoted(self._name)} is longer than {self._limit} characters.",
                    code="invalid_field",
                )


def _no_file(other_file: str | None, suffixes: tuple[str, ...]) -> Invalid:
    if other_file is None:
        return Invalid(
            "The form has no file. Send the package as the field 'content'.", code="missing_field"
        )
    accepted = " and ".join(suffixes)
    return Invalid(
        f"Only {accepted} are accepted, and {quoted(other_file)} is neither. "
        "Build a wheel and an sdist with 'python -m build'.",
        code="invalid_filename",
        short=f"Only {accepted} are accepted.",
    )


def _duplicate(name: str) -> Invalid:
    return Invalid(
        f"The form has the field {quoted(name)} twice. Send it once.", code="duplicate_field"
    )


def _oversized(what: str, limit: int) -> Invalid:
    return Invalid(
        f"{what} is larger than {_readable(limit)}. Send less metadata with the file.",
        code="too_large",
    )


def _readable(size: int) -> str:
    for factor, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= factor and not size % factor:
            return f"{size // factor} {unit}"
    return f"{size} bytes"
