"""
Reader of upload forms: streams the file to the spool, and checks the text fields.

The form of clients is that of the packaging specifications' upload API (the "legacy" API). The file
is the part `content`, or a part of another name with a distribution's filename. The metadata comes
from the archive, so a field may be missing, empty or UNKNOWN. But text must be UTF-8, and the
fields that describe the file must agree with it. Attestations (PEP 740) must be JSON. The
form of the upload page begins with the anti-forgery token.

The library `multipart` finds the parts of a form (RFC 7578). Refused is what it lets pass: data
before the first boundary or after the last one (but line ends and blanks), a part with an encoding,
and a Content-Disposition with other parameters than the name and the filename.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b, file_digest, md5, sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from msgspec import DecodeError, Struct
from msgspec.json import decode
from msgspec.structs import replace
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from wheelyard.errors import Invalid, quoted
from wheelyard.http.forms import CSRF_FIELD
from wheelyard.model.access import Caller
from wheelyard.model.quotas import size_in_form
from wheelyard.operations.spooled_upload import SpooledUpload, SpoolWriter, empty_file
from wheelyard.operations.uploads import Uploads
from wheelyard.settings.sections import MIB
from wheelyard.storage.filesystem import storage_faults

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher


EPILOGUE_LIMIT_BYTES: Final = 1024
"""Bytes of line ends and blanks that may follow the closing boundary."""
MAX_PART_HEADERS: Final = 8
"""Headers of a part, of which RFC 7578 defines three."""
PART_HEADER_LIMIT_BYTES: Final = 4 << 10
"""Bytes of one header of a part."""
LINE_END: Final = b"\r\n"

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

MAX_PARTS: Final = 20_000
FIELD_LIMIT_BYTES: Final = 4 << 20
"""Bytes of one part other than a file."""
FIELDS_LIMIT_BYTES: Final = 32 << 20
"""Bytes of all parts other than files, and of the headers of all parts."""
FILE_FIELD: Final = "content"
ATTESTATIONS_FIELD: Final = "attestations"
NON_PACKAGE_FIELDS: Final = frozenset({"gpg_signature", ATTESTATIONS_FIELD})
"""Fields that are never the package, even with a filename."""
RETIRED_ACTIONS: Final = frozenset({"submit", "verify", "doc_upload"})
"""Actions of old clients besides uploading."""
FILETYPE_SUFFIXES: Final = {"bdist_wheel": (".whl",), "sdist": (".tar.gz", ".zip")}
"""Values of `filetype`, and how the filenames of each end."""
DIGEST_SUFFIX: Final = "_digest"
DIGEST_FIELDS: Final = ("sha256_digest", "blake2_256_digest", "md5_digest")
_ACCEPTED: Final = {
    ":action": (re.compile("file_upload|submit|verify|doc_upload"), "file_upload"),
    "protocol_version": (re.compile("1"), "1"),
    "filetype": (re.compile("bdist_wheel|sdist"), "bdist_wheel or sdist"),
    "sha256_digest": (re.compile("[0-9a-f]{64}"), "64 hexadecimal digits"),
    # distutils sends a BLAKE2b of full length under this name
    "blake2_256_digest": (re.compile("[0-9a-f]{64}|[0-9a-f]{128}"), "64 hexadecimal digits"),
    "md5_digest": (re.compile("[0-9a-f]{32}"), "32 hexadecimal digits"),
}
"""The values that some fields accept, and what to send."""
_MAX_CHARACTERS: Final = {
    **dict.fromkeys((*_ACCEPTED, "name", "version", CSRF_FIELD), 1024),
    # parsing its JSON takes about twenty times as much memory
    ATTESTATIONS_FIELD: 512 << 10,
}
"""The fields whose text is used, and the most characters of each."""
_ONE_LINE: Final = frozenset({"summary", *_MAX_CHARACTERS} - {ATTESTATIONS_FIELD})
_NUL = re.compile("\x00")
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line breaks and marks of writing direction."""
_new_decoder = getincrementaldecoder("utf-8")


class PartHeaders(Struct, frozen=True):
    """The parsed headers of one part of a multipart form."""

    name: str
    filename: str | None
    """The last component of the path that was sent, or None for a text field."""
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
        """The last bytes, with which the closing boundary may begin, and at first all bytes."""
        self._epilogue: bytes | None = None
        """The bytes after the closing boundary, or None before it has come."""

    def feed(self, chunk: bytes) -> Iterator[PartHeaders | bytes | None]:
        """
        Parse the next bytes, and yield a part's headers, then its content in chunks, then None.

        Raises Invalid for a malformed form.
        """
        if not self._has_begun:
            # less than a boundary may come in the first chunk
            chunk = self._recent + chunk
            if len(chunk) < len(LINE_END + self._opening):
                self._recent = chunk
                return
            if not chunk.removeprefix(LINE_END).startswith(self._opening):
                raise bad_multipart("it does not begin with the boundary that Content-Type names")
            self._has_begun = True
            self._recent = LINE_END
        if self._epilogue is None:
            # the closing boundary may be divided between two chunks
            recent = self._recent + chunk
            closing_at = recent.find(self._closing)
            if closing_at < 0:
                self._recent = recent[1 - len(self._closing) :]
                yield from self._events(chunk)
                return
            end = closing_at + len(self._closing) - len(self._recent)
            yield from self._events(chunk[:end], is_last=True)
            self._epilogue = b""
            chunk = chunk[end:]
        self._epilogue += chunk[: EPILOGUE_LIMIT_BYTES + 1]
        if len(self._epilogue) > EPILOGUE_LIMIT_BYTES or self._epilogue.strip(b" \t\r\n"):
            raise bad_multipart("something follows its closing boundary")

    def close(self) -> None:
        """
        Raise Invalid unless the form has ended with its closing boundary and a line end.

        The code is `incomplete_body`.
        """
        if self._epilogue is None or not self._epilogue.startswith(LINE_END):
            raise Invalid(
                "The form ends before its closing boundary, so part of it was lost on the way. "
                "Upload it again.",
                code="incomplete_body",
            )

    def _events(
        self, chunk: bytes, *, is_last: bool = False
    ) -> Iterator[PartHeaders | bytes | None]:
        """Yield what the library finds in the next bytes, with its errors as ours."""
        try:
            # the library takes an empty chunk for the end of the form
            if chunk:
                for event in self._parser.parse(chunk):
                    if isinstance(event, MultipartSegment):
                        yield _part_headers(tuple(event.headerlist))
                    else:
                        yield event
            if is_last:
                self._parser.close()
        except MultipartError as error:
            if isinstance(error.args[-1], UnicodeDecodeError):
                raise bad_encoding("A header of a part of the form") from error
            raise bad_multipart("a boundary or a header is damaged, or too long") from error


@lru_cache(128)  # clients send the same fields each time
def _part_headers(lines: tuple[tuple[str, str], ...]) -> PartHeaders:
    """Return the headers of a part, or raise Invalid for any that could have two meanings."""
    headers = dict(lines)
    if len(headers) != len(lines):
        raise bad_multipart("a part has a header twice")
    encoding = headers.get("Content-Transfer-Encoding", "binary").strip(" \t").lower()
    if encoding not in _UNENCODED:
        raise bad_multipart(f"it has a part in the transfer encoding {quoted(encoding)}")

    # the library has refused a part without this header
    match = _DISPOSITION.fullmatch(headers["Content-Disposition"])
    if match is None or not match[1].strip('"'):
        raise bad_multipart("a part has other parameters than one name and one filename")
    name = match[1].strip('"')
    filenames = list[str]()
    if match[2] is not None:
        filenames.append(match[2].strip('"'))
    if match[3] is not None:
        try:
            filenames.append(unquote_to_bytes(match[3]).decode())
        except UnicodeDecodeError as error:
            raise bad_encoding("A filename of the form") from error

    # some programs send the path of the file, such as C:\dist\x.whl
    base_names = {filename.replace("\\", "/").rpartition("/")[2] for filename in filenames}
    if len(base_names) > 1:
        raise bad_multipart("a part has two filenames")
    size = sum(len(header) + len(value) for header, value in lines)
    return PartHeaders(name, next(iter(base_names), None), size)


def bad_multipart(reason: str) -> Invalid:
    """Return the error for a body that is not well-formed multipart/form-data."""
    return Invalid(
        f"The body is not a well-formed multipart/form-data form: {reason}. "
        "Upload with a current client, or with 'curl -F content=@FILE'.",
        code="bad_multipart",
    )


def bad_encoding(what: str) -> Invalid:
    """Return the error for text that is not UTF-8, in the part of the form that `what` names."""
    return Invalid(
        f"{what} is not UTF-8. Send the form in UTF-8, whatever charset its headers name.",
        code="bad_encoding",
    )


class FormReader:
    """
    Reads an upload form from chunks.

    As soon as a filename is known, the caller's right to upload it is checked. One thread at a time
    may use a reader. It is not usable any more after an error.

    Args:
        boundary: The boundary of the form.
        uploads: The upload operation.
        caller: Who has sent the form.
        check_token: For a form of the upload page: raises Forbidden unless it is called with the
            right anti-forgery token.
        content_length: The bytes of the form, or 0 if they are not known.
    """

    def __init__(
        self,
        boundary: bytes,
        uploads: Uploads,
        caller: Caller,
        check_token: Callable[[str], None] | None = None,
        content_length: int = 0,
    ) -> None:
        self._parser = MultipartParser(boundary)
        self._uploads = uploads
        self._caller = caller
        self._check_token = check_token
        self._content_length = content_length
        self._fields: dict[str, str] = {}
        """The fields that are used and may occur once, with an empty text for blank and UNKNOWN."""
        self._attestations = ""
        self._has_attestations = False
        self._file: SpoolWriter | None = None
        self._part: SpoolWriter | _Field | None = None
        """The target of the current part's bytes, or None if they are ignored."""
        # counted while they come: a form may be endless, whatever its headers say
        self._part_count = 0
        self._part_size = 0
        self._fields_size = 0

    def feed(self, chunk: bytes) -> None:
        """
        Read the next bytes of the form.

        The bytes of its file are written into the spool. Raises Invalid for a wrong form or
        filename. Raises TooLarge for a file that is too large, or for which a quota has no room
        (code `quota_exceeded`). Raises Forbidden if the caller may not upload the file, and for a
        wrong anti-forgery token. Raises Unavailable if the spool cannot be written, or nobody can
        say now whether the caller may.
        """
        for event in self._parser.feed(chunk):
            if isinstance(event, PartHeaders):
                self._start_part(event)
            elif event is None:
                self._finish_part()
            elif isinstance(self._part, SpoolWriter):
                self._part.write(event)
            else:
                self._write_field(self._part, event)

    def finish(self, last_bytes: bytes) -> SpooledUpload | None:
        """
        Read the last bytes of the form, and return its file in the spool.

        Return None if the form asks for one of `RETIRED_ACTIONS`, which have no file.

        Besides the errors of `feed`, raises Invalid if the form was cut off (`incomplete_body`),
        has no file (`missing_field`), or a field contradicts the file (`digest_mismatch` or
        `invalid_filename`).
        """
        self.feed(last_bytes)
        self._parser.close()  # before anything is stored: a form that was cut off may look complete
        if self._fields.get(":action") in RETIRED_ACTIONS:
            return None
        self._require_token()
        if self._file is None:
            accepted = " or ".join(self._suffixes)
            raise Invalid(
                f"The form has no file. Send one that ends with {accepted} as the field 'content'.",
                code="missing_field",
            )
        return self._checked(self._file)

    def close(self) -> None:
        """Remove the file of the form from the spool, also after success."""
        if self._file is not None:
            self._file.remove()

    def _start_part(self, part: PartHeaders) -> None:
        """Choose where the bytes of a part go, by its headers. Raises Invalid for a wrong one."""
        self._part_count += 1
        if self._part_count > MAX_PARTS:
            fact = "The form has too many fields."
            remedy = "Send each field of the metadata once."
            raise Invalid(f"{fact} {remedy}", code="too_large")
        self._part_size = 0
        self._count_bytes(part.size)
        if part.name in self._fields:
            raise _duplicate(f"The form has the field {quoted(part.name)} twice. Send it once.")
        if part.filename is not None and part.name != ATTESTATIONS_FIELD:
            self._part = self._start_file(part.name, part.filename)
        elif part.name == FILE_FIELD:
            raise _invalid_field(
                "The field 'content' must be a file, with a filename. "
                "With curl, write 'content=@FILE'."
            )
        else:
            self._part = _Field(part.name)

    def _start_file(self, name: str, filename: str) -> SpoolWriter | None:
        """Return where the file goes, or None if the part is no package, but a signature, say."""
        if name in _MAX_CHARACTERS:
            raise _invalid_field(
                f"The field {quoted(name)} must be text, and it was sent as a file."
            )

        # some clients name the field otherwise: then the filename says that it is the package
        is_package = name not in NON_PACKAGE_FIELDS and filename.endswith(self._suffixes)
        if not is_package and name != FILE_FIELD:
            return None
        self._require_token()  # before a byte is spooled
        if self._file is not None:
            raise _duplicate("The form has more than one package. Upload one file at a time.")
        if not filename:
            raise Invalid(
                "The file of the form has no filename. Send the name that the build tool gave it.",
                code="invalid_filename",
            )
        uploads = self._uploads

        # the right is checked again in `Uploads.accept`, as it may be revoked meanwhile
        size = size_in_form(self._content_length, self._fields_size)
        name_in_form = self._fields.get("name", "")
        readings = uploads.authorize(filename, self._caller, size, name_in_form)
        hashers = {name: _new_hasher(name, digest) for name, digest in self._digests()}
        limit = uploads.rules.max_size
        self._file = SpoolWriter(uploads.spool, readings, limit, "the upload", hashers)
        return self._file

    def _write_field(self, field: "_Field | None", data: bytes) -> None:
        """Take the next bytes of a part that is no file, also of one that is ignored."""
        self._part_size += len(data)
        if self._part_size > FIELD_LIMIT_BYTES:
            raise _field_too_large("A field of the form", FIELD_LIMIT_BYTES)
        self._count_bytes(len(data))
        if field is not None:
            field.write(data)

    def _finish_part(self) -> None:
        """Check the value of the current part, which has ended. Raises Invalid for a wrong one."""
        match self._part:
            case SpoolWriter(size=0) as file:
                raise empty_file(file.filename)
            case _Field(name=name) as field:
                field.write(b"", is_last=True)
                if name == ATTESTATIONS_FIELD:
                    self._take_attestations(field.text)
                elif name in _MAX_CHARACTERS:
                    self._fields[name] = _checked_value(name, field.text)
                if name == CSRF_FIELD and self._check_token is not None:
                    self._check_token(field.text)

    def _take_attestations(self, text: str) -> None:
        """Keep the JSON of attestations, or raise Invalid if it comes twice, or is no JSON."""
        if self._attestations:
            raise _duplicate(f"The form has the field {ATTESTATIONS_FIELD} twice. Send it once.")
        self._has_attestations = _has_items(text)
        self._attestations = text

    def _count_bytes(self, size: int) -> None:
        """Count bytes of the form that are not the file, and raise Invalid for too many."""
        self._fields_size += size
        if self._fields_size > FIELDS_LIMIT_BYTES:
            raise _field_too_large("The form without its file", FIELDS_LIMIT_BYTES)

    def _require_token(self) -> None:
        """Raise Forbidden if a form of the upload page has had no anti-forgery token so far."""
        if self._check_token is not None and CSRF_FIELD not in self._fields:
            self._check_token("")

    @property
    def _suffixes(self) -> tuple[str, ...]:
        """The filename endings by which a part other than `content` is the package."""
        if self._uploads.rules.zip_sdists:
            return (".whl", ".tar.gz", ".zip")
        return (".whl", ".tar.gz")

    def _checked(self, file: SpoolWriter) -> SpooledUpload:
        """
        Return a file, after its type and its digests were compared with those of the form.

        Raises Invalid if one differs.
        """
        fields = self._fields
        filename = file.filename
        filetype = fields.get("filetype")
        if filetype and not filename.endswith(FILETYPE_SUFFIXES[filetype]):
            raise Invalid(
                f"'filetype' is {filetype}, and {quoted(filename)} is not one by its name. "
                "Upload with a current client, or leave 'filetype' out.",
                code="invalid_filename",
            )
        digests = file.digests
        for name, declared in self._digests():
            # a field that came behind the file was not known when its bytes were hashed
            actual = digests.get(name) or _digest_of_spooled(file, name, declared)
            if declared != actual:
                raise Invalid(
                    f"The {name} digest sent does not match the uploaded file. "
                    f"The file received has {actual}: upload it again.",
                    code="digest_mismatch",
                )
        return replace(
            file.to_upload(),
            form_name=fields.get("name", ""),
            form_version=fields.get("version", ""),
            attestations=self._attestations,
            has_attestations=self._has_attestations,
        )

    def _digests(self) -> Iterator[tuple[str, str]]:
        """Yield the algorithm and value of each digest field that has come so far."""
        for field in DIGEST_FIELDS:
            if self._fields.get(field):
                yield field.removesuffix(DIGEST_SUFFIX), self._fields[field]


class _Field:
    """Decodes and checks the text of a form field, chunk by chunk, and keeps it if it is used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self._decoder = _new_decoder()
        self._forbidden = _CONTROL_CHARACTERS if name in _ONE_LINE else _NUL

    def write(self, data: bytes, *, is_last: bool = False) -> None:
        """
        Decode the next bytes.

        Raises Invalid if the text has bad characters or is too long.
        """
        try:
            text = self._decoder.decode(data, is_last)
        except UnicodeDecodeError as error:
            raise bad_encoding(f"The field {quoted(self.name)}") from error
        if self._forbidden.search(text):
            raise _invalid_field(
                f"The field {quoted(self.name)} holds a character that does not belong in "
                "text of its kind. Remove control characters and line breaks."
            )
        limit = _MAX_CHARACTERS.get(self.name)
        if limit is not None:
            self.text += text
            if len(self.text) > limit:
                raise _invalid_field(
                    f"The field {quoted(self.name)} is longer than {limit} characters."
                )


def _checked_value(field: str, text: str) -> str:
    """
    Return the value of a field, empty for UNKNOWN.

    Raises Invalid if it is not accepted.
    """
    if text.strip() in ("", "UNKNOWN"):
        return ""
    if field not in _ACCEPTED:
        return text
    pattern, remedy = _ACCEPTED[field]
    value = text.lower() if field in DIGEST_FIELDS else text
    if not pattern.fullmatch(value):
        code = "invalid_action" if field == ":action" else "invalid_field"
        message = f"{quoted(field)} is {quoted(text)}. Send {remedy}, or leave it out."
        raise Invalid(message, code=code)
    return value


def _has_items(text: str) -> bool:
    """Return whether the JSON of attestations has any. Raises Invalid if it is no JSON."""
    # a stranger's: nested deeply enough, it ends in a RecursionError
    try:
        return bool(decode(text))
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise _invalid_field(
            "The field 'attestations' is not JSON. Upload without attestations."
        ) from error


def _new_hasher(algorithm: str, declared: str) -> "Hasher":
    """Return what computes a digest, a BLAKE2b of the length that was declared."""
    if algorithm == "sha256":
        return sha256()
    if algorithm == "md5":
        return md5(usedforsecurity=False)
    return blake2b(digest_size=len(declared) // 2)


def _digest_of_spooled(file: SpoolWriter, algorithm: str, declared: str) -> str:
    """Return the file's digest, reading it again: the field came after the file (distutils)."""
    with storage_faults("the upload"), file.path.open("rb") as content:
        return file_digest(content, lambda: _new_hasher(algorithm, declared)).hexdigest()


def _field_too_large(what: str, limit: int) -> Invalid:
    return Invalid(
        f"{what} is larger than {limit / MIB:g} MiB. Send less metadata with the file.",
        code="too_large",
    )


def _invalid_field(message: str) -> Invalid:
    return Invalid(message, code="invalid_field")


def _duplicate(message: str) -> Invalid:
    return Invalid(message, code="duplicate_field")
