"""
Reader of upload forms: streams the file to the spool, and checks the text fields.

Clients send the form of the packaging specifications' upload API (the "legacy" API). The file is
the part `content`, or a part of another name with a distribution's filename. The metadata comes
from the archive, so a field may be missing, empty or UNKNOWN. But text must be UTF-8, and the
fields that describe the file must agree with it. Attestations (PEP 740) must be JSON. The
form of the upload page begins with the anti-forgery token.

The library `multipart` finds the parts of a form (RFC 7578). This module refuses what the library
lets pass: data before the first boundary or after the last one (but line ends and blanks), a part
with an encoding, and a Content-Disposition with other parameters than the name and the filename.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
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
"""Matches a Content-Disposition with its parameters in the order that all clients have."""
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
"""Values of `:action` that old clients send for something else than an upload."""
FILETYPE_SUFFIXES: Final = {"bdist_wheel": (".whl",), "sdist": (".tar.gz", ".zip")}
"""The values of `filetype`, each with the ends of filenames of that type."""
DIGEST_SUFFIX: Final = "_digest"
DIGEST_FIELDS: Final = ("sha256_digest", "blake2_256_digest", "md5_digest")
_ACCEPTED_VALUES: Final = {
    ":action": (re.compile("file_upload|submit|verify|doc_upload"), "file_upload"),
    "protocol_version": (re.compile("1"), "1"),
    "filetype": (re.compile("bdist_wheel|sdist"), "bdist_wheel or sdist"),
    "sha256_digest": (re.compile("[0-9a-f]{64}"), "64 hexadecimal digits"),
    # distutils sends a BLAKE2b of full length under this name
    "blake2_256_digest": (re.compile("[0-9a-f]{64}|[0-9a-f]{128}"), "64 hexadecimal digits"),
    "md5_digest": (re.compile("[0-9a-f]{32}"), "32 hexadecimal digits"),
}
"""The values that these fields accept, each with the words that say what to send."""
_MAX_CHARACTERS: Final = {
    **dict.fromkeys((*_ACCEPTED_VALUES, "name", "version", CSRF_FIELD), 1024),
    # to parse the JSON takes about twenty times as much memory
    ATTESTATIONS_FIELD: 512 << 10,
}
"""The fields whose text is used, and the most characters of each."""
_ONE_LINE_FIELDS: Final = frozenset({"summary", *_MAX_CHARACTERS} - {ATTESTATIONS_FIELD})
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
    """The size of the headers in bytes."""


class MultipartParser:
    """Splits a multipart form into its parts, chunk by chunk. An error makes it unusable."""

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
        """Whether enough bytes have come, and they begin with the boundary."""
        self._recent = b""
        """
        The latest bytes, with which the closing boundary may begin.

        Before the body has begun, these are all bytes.
        """
        self._epilogue: bytes | None = None
        """The bytes after the closing boundary, or None before it has come."""

    def feed(self, chunk: bytes) -> Iterator[PartHeaders | bytes | None]:
        """
        Parse the next bytes, and yield a part's headers, then its content in chunks, then None.

        Raises Invalid for a malformed form.
        """
        if not self._has_begun:
            # the first chunk may be shorter than the boundary
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
                # one byte less than the closing boundary may be the beginning of it
                self._recent = recent[1 - len(self._closing) :]
                yield from self._events(chunk)
                return
            closing_end = closing_at + len(self._closing) - len(self._recent)
            yield from self._events(chunk[:closing_end], is_last=True)
            self._epilogue = b""
            chunk = chunk[closing_end:]
        # one byte more than allowed is enough to refuse the form
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
        """Yield what `feed` yields for the next bytes. Raises Invalid for errors of the library."""
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
    """Return the headers of a part. Raises Invalid for headers that could have two meanings."""
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
    quoted_name, quoted_filename, encoded_filename = match.groups()
    filenames = list[str]()
    if quoted_filename is not None:
        filenames.append(_last_component(quoted_filename.strip('"')))
    if encoded_filename is not None:
        try:
            decoded_filename = unquote_to_bytes(encoded_filename).decode()
        except UnicodeDecodeError as error:
            raise bad_encoding("A filename of the form") from error
        filenames.append(_last_component(decoded_filename))
    if len(set(filenames)) > 1:
        raise bad_multipart("a part has two filenames")
    size = sum(len(header) + len(value) for header, value in lines)
    filename = filenames[0] if filenames else None
    return PartHeaders(quoted_name.strip('"'), filename, size)


def _last_component(path: str) -> str:
    """Return the filename in a path, which some programs send, also one of Windows."""
    return path.replace("\\", "/").rpartition("/")[2]


def bad_multipart(reason: str) -> Invalid:
    """Return the error for a body that is not well-formed multipart/form-data."""
    return Invalid(
        f"The body is not a well-formed multipart/form-data form: {reason}. "
        "Upload with a current client, or with 'curl -F content=@FILE'.",
        code="bad_multipart",
    )


def bad_encoding(place: str) -> Invalid:
    """Return the error for text that is not UTF-8, in the place of the form that is named."""
    return Invalid(
        f"{place} is not UTF-8. Send the form in UTF-8, whatever charset its headers name.",
        code="bad_encoding",
    )


class FormReader:
    """
    Reads an upload form from chunks.

    As soon as the filename is known, the caller's right to upload the file is checked. One thread
    at a time may use a reader. A reader must not be used after an error.

    Args:
        boundary: The boundary of the form.
        uploads: The upload operation.
        caller: The sender of the form.
        check_token: For a form of the upload page: raises Forbidden unless it is called with the
            right anti-forgery token.
        content_length: The size of the form in bytes, or 0 if it is not known.
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
        """The texts of the fields in `_MAX_CHARACTERS`, which are empty for blanks and UNKNOWN."""
        self._attestations = ""
        self._has_attestations = False
        self._file: SpoolWriter | None = None
        self._part: SpoolWriter | _Field | None = None
        """Takes the bytes of the current part, or None if they are ignored."""
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
        return self._checked_upload(self._file)

    def close(self) -> None:
        """Remove the file of the form from the spool, also after success."""
        if self._file is not None:
            self._file.remove()

    def _start_part(self, part: PartHeaders) -> None:
        """Choose by the headers what takes the bytes of a part. Raises Invalid for a wrong part."""
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
            self._part = self._start_file_part(part.name, part.filename)
        elif part.name == FILE_FIELD:
            raise _invalid_field(
                "The field 'content' must be a file, with a filename. "
                "With curl, write 'content=@FILE'."
            )
        else:
            self._part = _Field(part.name)

    def _start_file_part(self, name: str, filename: str) -> SpoolWriter | None:
        """
        Return what takes the bytes of a part with a filename, or None if it is no package.

        A part that is no package is ignored, such as a signature. Raises Invalid for a wrong part,
        and the errors of `feed` about the caller, the token and the room for the file.
        """
        if name in _MAX_CHARACTERS:
            raise _invalid_field(
                f"The field {quoted(name)} must be text, and it was sent as a file."
            )

        # some clients give the field another name: then the filename says that it is the package
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
        hashers = {
            algorithm: _new_hasher(algorithm, declared_digest)
            for algorithm, declared_digest in self._declared_digests()
        }
        limit = uploads.rules.max_size
        self._file = SpoolWriter(uploads.spool, readings, limit, "the upload", hashers)
        return self._file

    def _write_field(self, field: "_Field | None", data: bytes) -> None:
        """Count the next bytes of a part that is no file, and decode them if it has a field."""
        self._part_size += len(data)
        if self._part_size > FIELD_LIMIT_BYTES:
            raise _field_too_large("A field of the form", FIELD_LIMIT_BYTES)
        self._count_bytes(len(data))
        if field is not None:
            field.write(data)

    def _finish_part(self) -> None:
        """Check the value of the current part, which has ended. Raises Invalid if it is wrong."""
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
        """Keep the JSON of attestations. Raises Invalid if it comes twice, or is no JSON."""
        if self._attestations:
            raise _duplicate(f"The form has the field {ATTESTATIONS_FIELD} twice. Send it once.")
        self._has_attestations = _has_items(text)
        self._attestations = text

    def _count_bytes(self, size: int) -> None:
        """Count bytes of the form that are not its file. Raises Invalid for too many."""
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

    def _checked_upload(self, file: SpoolWriter) -> SpooledUpload:
        """
        Return the upload of a file, after a comparison of its type and digests with the form.

        Raises Invalid if the type or a digest differs.
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
        for algorithm, declared_digest in self._declared_digests():
            # a field that came after the file was not known when the bytes were hashed
            digest = digests.get(algorithm) or _hash_again(file, algorithm, declared_digest)
            if declared_digest != digest:
                raise Invalid(
                    f"The {algorithm} digest sent does not match the uploaded file. "
                    f"The file received has {digest}: upload it again.",
                    code="digest_mismatch",
                )
        return replace(
            file.to_upload(),
            form_name=fields.get("name", ""),
            form_version=fields.get("version", ""),
            attestations=self._attestations,
            has_attestations=self._has_attestations,
        )

    def _declared_digests(self) -> Iterator[tuple[str, str]]:
        """Yield the algorithm and the value of each digest field that has come so far."""
        for field in DIGEST_FIELDS:
            if self._fields.get(field):
                yield field.removesuffix(DIGEST_SUFFIX), self._fields[field]


class _Field:
    """Decodes and checks the text of a form field, chunk by chunk, and keeps it if it is used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self._decoder = _new_decoder()
        self._forbidden = _CONTROL_CHARACTERS if name in _ONE_LINE_FIELDS else _NUL

    def write(self, data: bytes, *, is_last: bool = False) -> None:
        """
        Decode and check the next bytes.

        Before the bytes for which `is_last` is set, a character may be incomplete at the end.
        Raises Invalid if they are not UTF-8, or the text has bad characters or is too long.
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
    Return the value in the text of a field, which is empty for blanks and UNKNOWN.

    Raises Invalid if the field does not accept the value.
    """
    if text.strip() in ("", "UNKNOWN"):
        return ""
    if field not in _ACCEPTED_VALUES:
        return text
    pattern, remedy = _ACCEPTED_VALUES[field]
    value = text.lower() if field in DIGEST_FIELDS else text
    if not pattern.fullmatch(value):
        code = "invalid_action" if field == ":action" else "invalid_field"
        message = f"{quoted(field)} is {quoted(text)}. Send {remedy}, or leave it out."
        raise Invalid(message, code=code)
    return value


def _has_items(text: str) -> bool:
    """Return whether the JSON of attestations is not empty. Raises Invalid if it is no JSON."""
    # a stranger's text: JSON that is nested deeply enough ends in a RecursionError
    try:
        return bool(decode(text))
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise _invalid_field(
            "The field 'attestations' is not JSON. Upload without attestations."
        ) from error


def _new_hasher(algorithm: str, declared_digest: str) -> "Hasher":
    """Return what computes a digest. A BLAKE2b has the length of the digest that was declared."""
    if algorithm == "sha256":
        return sha256()
    if algorithm == "md5":
        return md5(usedforsecurity=False)
    return blake2b(digest_size=len(declared_digest) // 2)


def _hash_again(file: SpoolWriter, algorithm: str, declared_digest: str) -> str:
    """Return a digest of a file of the spool, whose field came after the file (distutils)."""
    new_hasher = partial(_new_hasher, algorithm, declared_digest)
    with storage_faults("the upload"), file.path.open("rb") as content:
        return file_digest(content, new_hasher).hexdigest()


def _field_too_large(subject: str, limit: int) -> Invalid:
    """Return the error for a part of a form that has more than `limit` bytes."""
    return Invalid(
        f"{subject} is larger than {limit / MIB:g} MiB. Send less metadata with the file.",
        code="too_large",
    )


def _invalid_field(message: str) -> Invalid:
    """Return the error for a field with a wrong value."""
    return Invalid(message, code="invalid_field")


def _duplicate(message: str) -> Invalid:
    """Return the error for a field or a file that comes twice."""
    return Invalid(message, code="duplicate_field")
