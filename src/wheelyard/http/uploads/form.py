"""
The form of an upload, read as it arrives: the file goes to the spool, next to nothing is kept.

The file is the part `content`, or, where there is none, whatever part has a distribution's
filename. The archive is the truth, so a field may be missing, empty or UNKNOWN; but every claim
that is made of the file must hold, and text must be UTF-8. Follows the upload API of the packaging
specifications (the "legacy" API).

The library `multipart` finds the parts of a body. What it leaves to its callers is done here: two
readers of one body must not see different forms. So nothing stands before the first boundary or
follows the last one, no boundary could be taken for content, and the names in a part's headers have
one meaning. Follows RFC 7578 and RFC 2046 section 5.1, and for the parameters of a header RFC 2183
and RFC 5987.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b, file_digest, md5, sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from msgspec import DecodeError
from msgspec.json import decode
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import Caller
from wheelyard.operations.spooling import MIB, SpooledUpload, Spooling
from wheelyard.operations.upload import Uploads
from wheelyard.storage.disk import storage_faults

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher

FILE_FIELD: Final = "content"
ACTION: Final = ":action"
RETIRED_ACTIONS: Final = frozenset({"submit", "verify", "doc_upload"})
"""What old clients did besides uploading."""
DIGESTS: Final = {"sha256_digest": (64,), "blake2_256_digest": (64, 128), "md5_digest": (32,)}
"""
How many hexadecimal digits each digest can have that a client may send.

distutils calls a BLAKE2b of full length `blake2_256_digest`.
"""
CLAIM_FIELDS: Final = frozenset(
    {ACTION, "protocol_version", "name", "version", "filetype", *DIGESTS}
)
"""The fields that are looked at; a form has each of them once at most."""
CLAIM_LIMIT: Final = 1024
"""Characters of each of them."""
ATTESTATIONS: Final = "attestations"
ATTESTATIONS_LIMIT: Final = 512 << 10
"""Characters of `attestations`: checking its JSON takes some twenty times as much memory."""

PARTS: Final = 20_000
"""Parts of a form."""
FIELD_LIMIT: Final = 4 << 20
"""Bytes of one part that is not the package."""
FIELDS_LIMIT: Final = 32 << 20
"""Bytes of all parts that are not the package, and of the headers of all parts."""
BOUNDARY_LIMIT: Final = 70
"""Characters of a boundary, as RFC 2046 has it."""
EPILOGUE_LIMIT: Final = 1024
"""Bytes of line ends and blanks that may follow the last boundary."""
HEADERS: Final = 64
"""How many headers a part may have; RFC 7578 knows three."""
HEADER_LIMIT: Final = 16 << 10
"""Bytes of all of them."""
LINE_END: Final = b"\r\n"

_NEVER_THE_FILE = frozenset({"gpg_signature", ATTESTATIONS})
_SUFFIXES = {"bdist_wheel": (".whl",), "sdist": (".tar.gz", ".zip")}
_NUL = re.compile("\x00")
_NOT_ON_A_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
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


class UploadFormReader:
    """
    A form read from chunks, by one thread at a time; after a fault it is of no more use.

    Args:
        boundary: As `boundary_of` returned it.
        uploads: Admits the file as soon as its name is known, and has the spool that it goes to.
        caller: Who sends the form.
    """

    def __init__(self, boundary: bytes, uploads: Uploads, caller: Caller) -> None:
        self._parts = PartReader(boundary)
        self._uploads = uploads
        self._caller = caller
        self._claims: dict[str, str] = {}
        """What each field of CLAIM_FIELDS says; empty where it is as good as missing."""
        self._has_attestations = False
        self._file: Spooling | None = None
        self._other_file: str | None = None
        self._part: Spooling | Field | None = None
        """Where the bytes of the part go that is being read; None for one that is ignored."""
        self._count = 0
        self._size = 0
        """Bytes of the part so far."""
        self._fields_size = 0

    def feed(self, chunk: bytes) -> None:
        """
        Take the next bytes of the body, as many as there are.

        Raises:
            Invalid: They can belong to no upload that we take.
            Forbidden: The caller may not upload the file, or its project takes none.
            TooLarge: The file is over its limit.
            Unavailable: The spool is full, or cannot be written.
        """
        for event in self._parts.feed(chunk):
            if isinstance(event, Part):
                self._begin(event)
            elif event is None:
                self._end()
            else:
                self._take(event)

    def finish(self, last: bytes) -> SpooledUpload | None:
        """
        Take the last bytes, and return the file; None if the form brings none on purpose.

        Old clients ask with their `:action` for what no index does any more.

        Raises:
            Invalid: The body was cut off (code `incomplete_body`), it has no file (code
                `missing_field`), or what it claims of the file is not so (codes `invalid_filename`,
                `digest_mismatch`).
        """
        self.feed(last)
        self._parts.close()
        claims, file = self._claims, self._file
        if claims.get(ACTION) in RETIRED_ACTIONS:
            return None
        if file is None:
            raise self._no_file()
        self._check_claims(file)
        return replace(
            file.arrival(),
            claimed_name=claims.get("name", ""),
            claimed_version=claims.get("version", ""),
            has_attestations=self._has_attestations,
        )

    def close(self) -> None:
        """Remove the scratch file."""
        if self._file is not None:
            self._file.remove()

    def _begin(self, part: "Part") -> None:
        self._count += 1
        if self._count > PARTS:
            fact = "The form has too many fields."
            remedy = "Send each field of the metadata once."
            raise Invalid(f"{fact} {remedy}", code="too_large", short=fact)
        self._size = 0
        self._weigh(part.size)
        name, filename = part.name, part.filename
        if name in self._claims:
            raise Invalid(
                f"The form has the field {quoted(name)} twice. Send it once.",
                code="duplicate_field",
            )
        if filename is not None:
            self._part = self._opened(name, filename)
        elif name == FILE_FIELD:
            raise _invalid_field(
                "The field 'content' must be a file, with a filename. "
                "With curl, write 'content=@FILE'."
            )
        else:
            self._part = Field(name)

    def _take(self, data: bytes) -> None:
        if self._part is None or self._part is not self._file:
            self._size += len(data)
            if self._size > FIELD_LIMIT:
                raise _oversized("A field of the form", FIELD_LIMIT)
            self._weigh(len(data))
        if self._part is not None:
            self._part.write(data)

    def _end(self) -> None:
        match self._part:
            case Spooling(size=0, distribution=distribution):
                raise Invalid(
                    f"The file {quoted(distribution.filename)} is empty. Build it again.",
                    code="invalid_archive",
                )
            case Field(name=name) as field:
                field.write(b"", final=True)
                if name == ATTESTATIONS:
                    self._has_attestations |= _are_attestations(field.text)
                elif name in CLAIM_FIELDS:
                    self._claims[name] = _claim(name, field.text)

    def _weigh(self, size: int) -> None:
        self._fields_size += size
        if self._fields_size > FIELDS_LIMIT:
            raise _oversized("The form without its file", FIELDS_LIMIT)

    def _opened(self, name: str, filename: str) -> Spooling | None:
        """Return where a file goes, None if it is not the package, as a signature is not."""
        if name in CLAIM_FIELDS:
            raise _invalid_field(
                f"The field {quoted(name)} must be text, and it was sent as a file."
            )
        self._has_attestations |= name == ATTESTATIONS
        may_be = name not in _NEVER_THE_FILE
        if name != FILE_FIELD and not (may_be and filename.endswith(self._suffixes)):
            if may_be and not filename.endswith(".asc"):
                self._other_file = filename
            return None
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
        uploads = self._uploads
        distribution = uploads.admit(filename, self._caller)
        hashers = {name: _hasher(name, digest) for name, digest in self._digests()}
        limit = uploads.rules.max_size
        self._file = Spooling(uploads.spool, distribution, limit, "the upload", hashers)
        return self._file

    @property
    def _suffixes(self) -> tuple[str, ...]:
        """How a file's name must end to be taken for the package when it is not `content`."""
        retired = (".zip",) if self._uploads.rules.zip_sdists else ()
        return (".whl", ".tar.gz", *retired)

    def _no_file(self) -> Invalid:
        if self._other_file is None:
            return Invalid(
                "The form has no file. Send the package as the field 'content'.",
                code="missing_field",
            )
        accepted = " and ".join(self._suffixes)
        return Invalid(
            f"Only {accepted} are accepted, and {quoted(self._other_file)} is neither. "
            "Build a wheel and an sdist with 'python -m build'.",
            code="invalid_filename",
            short=f"Only {accepted} are accepted.",
        )

    def _check_claims(self, file: Spooling) -> None:
        """Compare the file with its type and with every digest that the client sent."""
        filetype, filename = self._claims.get("filetype"), file.distribution.filename
        if filetype and not filename.endswith(_SUFFIXES[filetype]):
            raise Invalid(
                f"'filetype' is {filetype}, and {quoted(filename)} is not one by its name. "
                "Upload with a current client, or leave 'filetype' out.",
                code="invalid_filename",
            )
        digests = file.digests
        for name, claimed in self._digests():
            actual = digests.get(name) or _read_again(file, name, claimed)
            if claimed != actual:
                raise Invalid(
                    f"The {name} digest sent does not match the uploaded file. "
                    f"The file received has {actual}: upload it again.",
                    code="digest_mismatch",
                )

    def _digests(self) -> list[tuple[str, str]]:
        """Return the digests that are claimed so far, with the algorithm of each."""
        claimed = ((field, self._claims.get(field)) for field in DIGESTS)
        return [(field.removesuffix("_digest"), digest) for field, digest in claimed if digest]


class Field:
    """A field's text, decoded and checked as it comes, and kept only if somebody wants it whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        is_claim = name in CLAIM_FIELDS
        self._forbidden = _NOT_ON_A_LINE if is_claim or name == "summary" else _NUL
        self._is_kept = is_claim or name == ATTESTATIONS
        self._limit = CLAIM_LIMIT if is_claim else ATTESTATIONS_LIMIT
        self._decoder = getincrementaldecoder("utf-8")()

    def write(self, data: bytes, *, final: bool = False) -> None:
        """Take the next bytes, which must be UTF-8 and belong in such a field."""
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise _bad_encoding(f"The field {quoted(self.name)}") from error
        if self._forbidden.search(text):
            raise _invalid_field(
                f"The field {quoted(self.name)} holds a character that does not belong in "
                "text of its kind. Remove control characters and line breaks."
            )
        if self._is_kept:
            self.text += text
            if len(self.text) > self._limit:
                raise _invalid_field(
                    f"The field {quoted(self.name)} is longer than {self._limit} characters."
                )


@dataclass(frozen=True, slots=True)
class Part:
    """What the headers of a part say."""

    name: str
    filename: str | None
    """The last component, whichever way its slashes lean; None for a part that is no file."""
    size: int
    """Bytes that the headers took."""


class _Parser(PushMultipartParser):  # type: ignore[misc]  # it says nothing of its types
    """The library's parser, which would pass over blanks and control characters around a name."""

    def _on_segment_headerline(self, line: bytes) -> None:
        if not _HEADER.fullmatch(line):
            raise _bad_multipart("a header of a part is damaged")
        super()._on_segment_headerline(line)


class PartReader:
    """A body taken apart as it arrives; after a fault it is of no more use."""

    def __init__(self, boundary: bytes) -> None:
        self._parser = _Parser(
            boundary,
            max_header_size=HEADER_LIMIT,
            max_header_count=HEADERS,
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

    def feed(self, chunk: bytes) -> Iterator[Part | bytes | None]:
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
        self._epilogue += chunk[: EPILOGUE_LIMIT + 1]
        if len(self._epilogue) > EPILOGUE_LIMIT or self._epilogue.strip(b" \t\r\n"):
            raise _bad_multipart("something follows its closing boundary")

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
                raise _bad_multipart("it does not begin with the boundary that Content-Type names")

    def _events(self, chunk: bytes, *, is_last: bool = False) -> Iterator[Part | bytes | None]:
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
            raise _bad_multipart("a boundary or a header is damaged, or too long") from error

    def _check_content(self, data: bytes) -> None:
        """Refuse a boundary right behind the headers: readers disagree whether it ends the part."""
        if len(self._content) < len(self._dashes):
            self._content += data[: len(self._dashes)]
            if self._content.startswith(self._dashes):
                raise _bad_multipart("its boundary occurs inside a part")

    def _part(self, headers: list[tuple[str, str]]) -> Part:
        size = sum(len(name) + len(value) for name, value in headers)
        if size > HEADER_LIMIT:
            raise _bad_multipart(f"the headers of a part take over {HEADER_LIMIT} bytes")
        parameters = _disposition(headers)
        if not parameters.get("name"):
            raise _bad_multipart("it has a part without a name")
        if any("*" in each and each != "filename*" for each in parameters):
            raise _bad_multipart("a part has a name in two spellings, or in pieces")
        return Part(parameters["name"], _filename(parameters), size)


def boundary_of(content_type: bytes | None) -> bytes | None:
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
    if not _BOUNDARY.fullmatch(boundary) or len(boundary) > BOUNDARY_LIMIT:
        raise _bad_multipart(f"its Content-Type names no boundary of 1 to {BOUNDARY_LIMIT} letters")
    return boundary.encode("ascii")


def _bad_multipart(why: str) -> Invalid:
    return Invalid(
        f"The body is not a well-formed multipart/form-data form: {why}. "
        "Upload with a current client, or with 'curl -F content=@FILE'.",
        code="bad_multipart",
        short="The body is not a well-formed form.",
    )


def _bad_encoding(what: str) -> Invalid:
    return Invalid(
        f"{what} is not UTF-8. Send the form in UTF-8, whatever charset its headers name.",
        code="bad_encoding",
    )


def _disposition(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of the Content-Disposition of a part with these headers."""
    values = dict(headers)
    if len(values) != len(headers):
        raise _bad_multipart("a part has a header twice")
    encoding = values.get("Content-Transfer-Encoding", "binary").strip(" \t").lower()
    if encoding not in _PLAIN_ENCODINGS:
        raise _bad_multipart(f"it has a part in the transfer encoding {quoted(encoding)}")
    try:
        text = values["Content-Disposition"].encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise _bad_encoding("A Content-Disposition header of the form") from error
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
            raise _bad_multipart("a header's parameters are damaged or repeated")
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
            raise _bad_multipart("a 'filename*' is not UTF-8''PERCENT-ENCODED")
        try:
            names.append(unquote_to_bytes(match[1]).decode())
        except UnicodeDecodeError as error:
            raise _bad_encoding("A filename of the form") from error
    found = {each.replace("\\", "/").rpartition("/")[2] for each in names}
    if len(found) > 1:
        raise _bad_multipart("a part has two filenames")
    return found.pop() if found else None


def _invalid_field(message: str) -> Invalid:
    return Invalid(message, code="invalid_field")


def _oversized(what: str, limit: int) -> Invalid:
    return Invalid(
        f"{what} is larger than {limit / MIB:g} MiB. Send less metadata with the file.",
        code="too_large",
    )


def _claim(field: str, text: str) -> str:
    """Return what a field of CLAIM_FIELDS claims, empty if it is as good as missing."""
    if text.strip() in ("", "UNKNOWN"):
        return ""
    if field == ACTION and text != "file_upload" and text not in RETIRED_ACTIONS:
        raise Invalid(
            f"':action' is {quoted(text)}, and only 'file_upload' is supported here. "
            "Upload with a current client, or leave ':action' out.",
            code="invalid_action",
        )
    if field == "protocol_version" and text != "1":
        raise _invalid_field(f"'protocol_version' is {quoted(text)}. Send 1, or leave it out.")
    if field == "filetype" and text not in _SUFFIXES:
        raise _invalid_field(
            f"'filetype' is {quoted(text)}. Upload a wheel (bdist_wheel) or an sdist (sdist)."
        )
    if field not in DIGESTS:
        return text
    if len(text) not in DIGESTS[field] or not re.fullmatch("[0-9A-Fa-f]*", text):
        raise _invalid_field(
            f"{quoted(field)} must be {DIGESTS[field][0]} hexadecimal digits, or be left out."
        )
    return text.lower()


def _are_attestations(text: str) -> bool:
    try:
        return bool(decode(text))
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise _invalid_field(
            "The field 'attestations' is not JSON. Upload without attestations."
        ) from error


def _hasher(algorithm: str, claimed: str) -> "Hasher":
    if algorithm == "sha256":
        return sha256()
    if algorithm == "md5":
        return md5(usedforsecurity=False)
    return blake2b(digest_size=len(claimed) // 2)


def _read_again(file: Spooling, algorithm: str, claimed: str) -> str:
    """Return a digest that was claimed only behind the file, as distutils does."""
    with storage_faults("the upload"), file.path.open("rb") as content:
        return file_digest(content, partial(_hasher, algorithm, claimed)).hexdigest()
