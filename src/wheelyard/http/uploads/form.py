"""
Reader of the upload form: streams the file to the spool, and checks the text fields.

The form is that of the packaging specifications' upload API (the "legacy" API). The package is the
part `content`, or a part of another name with a distribution's filename; two are an error. The
metadata comes from the archive, so a field may be missing, empty or UNKNOWN. But text must be
UTF-8, and the fields that describe the file must agree with it.
"""

from functools import partial
from hashlib import file_digest
from typing import Final

from msgspec.structs import replace

from wheelyard.errors import Invalid, quoted
from wheelyard.http.uploads import form_fields
from wheelyard.http.uploads.form_fields import (
    ATTESTATIONS_FIELD,
    CHECKED_FIELDS,
    FieldDecoder,
    contains_attestations,
    field_too_large,
    invalid_field,
    new_hasher,
)
from wheelyard.http.uploads.multipart_parser import MultipartParser, PartHeaders
from wheelyard.model.access import Caller
from wheelyard.operations.spooled_upload import SpooledUpload, SpoolWriter, empty_file
from wheelyard.operations.upload import Uploads
from wheelyard.storage.filesystem import storage_faults

FILE_FIELD: Final = "content"
NON_PACKAGE_FIELDS: Final = frozenset({"gpg_signature", ATTESTATIONS_FIELD})
"""Fields that are never the package, even with a filename."""
MAX_PARTS: Final = 20_000
FIELD_LIMIT_BYTES: Final = 4 << 20
"""Bytes of one part other than the package."""
FIELDS_LIMIT_BYTES: Final = 32 << 20
"""Bytes of all parts other than the package, and of the headers of all parts."""


class UploadFormReader:
    """
    Reads an upload form from chunks: the file goes to the spool, and the fields are checked.

    As soon as the filename is known, the caller's right to upload it is checked. One thread at a
    time may use a reader. It is not usable any more after an error.
    """

    def __init__(self, boundary: bytes, uploads: Uploads, caller: Caller) -> None:
        self._parser = MultipartParser(boundary)
        self._uploads = uploads
        self._caller = caller
        self._fields: dict[str, str] = {}
        """The values of the checked fields; empty for blank and UNKNOWN."""
        self._has_attestations = False
        self._file: SpoolWriter | None = None
        self._rejected_filename: str | None = None
        """The name of a file that is not a package, for the error if there is no package."""
        self._part: SpoolWriter | FieldDecoder | None = None
        """The target of the current part's bytes; None if they are ignored."""
        self._part_count = 0
        self._part_size = 0
        """Bytes so far of the current part, unless it is the package."""
        self._fields_size = 0

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the form; raise Invalid, Forbidden, TooLarge or Unavailable."""
        for event in self._parser.feed(chunk):
            if isinstance(event, PartHeaders):
                self._start_part(event)
            elif event is None:
                self._finish_part()
            else:
                self._write_part(event)

    def finish(self, last: bytes) -> SpooledUpload | None:
        """
        Read the last bytes of the form, and return the spooled file; None for UNSUPPORTED_ACTIONS.

        Raise Invalid, besides the errors of `feed`, if the form was cut off (`incomplete_body`),
        has no file (`missing_field`), or a field contradicts the file (`digest_mismatch` ...).
        """
        self.feed(last)
        self._parser.close()
        fields, file = self._fields, self._file
        if fields.get(form_fields.ACTION_FIELD) in form_fields.UNSUPPORTED_ACTIONS:
            return None
        if file is None:
            raise self._missing_file()
        self._check_file(file)
        return replace(
            file.to_upload(),
            form_name=fields.get("name", ""),
            form_version=fields.get("version", ""),
            has_attestations=self._has_attestations,
        )

    def close(self) -> None:
        """Remove the form's file from the spool, if it is there; called after success, too."""
        file, self._file = self._file, None
        if file is not None:
            file.remove()

    def _start_part(self, part: PartHeaders) -> None:
        self._part_count += 1
        if self._part_count > MAX_PARTS:
            fact = "The form has too many fields."
            remedy = "Send each field of the metadata once."
            raise Invalid(f"{fact} {remedy}", code="too_large", short=fact)
        self._part_size = 0
        self._count_bytes(part.size)
        name, filename = part.name, part.filename
        if name in self._fields:
            raise Invalid(
                f"The form has the field {quoted(name)} twice. Send it once.",
                code="duplicate_field",
            )
        if filename is not None:
            self._part = self._start_file(name, filename)
        elif name == FILE_FIELD:
            raise invalid_field(
                "The field 'content' must be a file, with a filename. "
                "With curl, write 'content=@FILE'."
            )
        else:
            self._part = FieldDecoder(name)

    def _write_part(self, data: bytes) -> None:
        if self._part is None or self._part is not self._file:
            self._part_size += len(data)
            if self._part_size > FIELD_LIMIT_BYTES:
                raise field_too_large("A field of the form", FIELD_LIMIT_BYTES)
            self._count_bytes(len(data))
        if self._part is not None:
            self._part.write(data)

    def _finish_part(self) -> None:
        match self._part:
            case SpoolWriter(size=0, distribution=distribution):
                raise empty_file(distribution.filename)
            case FieldDecoder(name=name) as field:
                field.finish()
                if name == ATTESTATIONS_FIELD:
                    self._has_attestations |= contains_attestations(field.text)
                elif name in CHECKED_FIELDS:
                    self._fields[name] = form_fields.checked_value(name, field.text)

    def _count_bytes(self, size: int) -> None:
        self._fields_size += size
        if self._fields_size > FIELDS_LIMIT_BYTES:
            raise field_too_large("The form without its file", FIELDS_LIMIT_BYTES)

    def _start_file(self, name: str, filename: str) -> SpoolWriter | None:
        """Return a new writer for the package; None if the part is another file (a signature)."""
        if name in CHECKED_FIELDS:
            raise invalid_field(
                f"The field {quoted(name)} must be text, and it was sent as a file."
            )
        self._has_attestations |= name == ATTESTATIONS_FIELD
        may_be_package = name not in NON_PACKAGE_FIELDS
        if name != FILE_FIELD and not (may_be_package and filename.endswith(self._suffixes)):
            if may_be_package and not filename.endswith(".asc"):
                self._rejected_filename = filename
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
        distribution = uploads.authorize(filename, self._caller)
        hashers = {name: new_hasher(name, digest) for name, digest in self._declared_digests()}
        limit = uploads.rules.max_size
        self._file = SpoolWriter(uploads.spool, distribution, limit, "the upload", hashers)
        return self._file

    @property
    def _suffixes(self) -> tuple[str, ...]:
        """The filename endings by which a part other than `content` is the package."""
        zip_sdist = (".zip",) if self._uploads.rules.zip_sdists else ()
        return (".whl", ".tar.gz", *zip_sdist)

    def _missing_file(self) -> Invalid:
        if self._rejected_filename is None:
            return Invalid(
                "The form has no file. Send the package as the field 'content'.",
                code="missing_field",
            )
        accepted = " and ".join(self._suffixes)
        return Invalid(
            f"Only {accepted} are accepted, and {quoted(self._rejected_filename)} is neither. "
            "Build a wheel and an sdist with 'python -m build'.",
            code="invalid_filename",
            short=f"Only {accepted} are accepted.",
        )

    def _check_file(self, file: SpoolWriter) -> None:
        """Raise Invalid unless the file has the declared type and every declared digest."""
        filetype, filename = self._fields.get("filetype"), file.distribution.filename
        if filetype and not filename.endswith(form_fields.FILETYPE_SUFFIXES[filetype]):
            raise Invalid(
                f"'filetype' is {filetype}, and {quoted(filename)} is not one by its name. "
                "Upload with a current client, or leave 'filetype' out.",
                code="invalid_filename",
            )
        digests = file.digests
        for name, declared in self._declared_digests():
            actual = digests.get(name) or _digest_of_spooled(file, name, declared)
            if declared != actual:
                raise Invalid(
                    f"The {name} digest sent does not match the uploaded file. "
                    f"The file received has {actual}: upload it again.",
                    code="digest_mismatch",
                )

    def _declared_digests(self) -> list[tuple[str, str]]:
        """Return the algorithm and value of each digest field that the client has sent so far."""
        sent = [field for field in form_fields.DIGEST_LENGTHS if self._fields.get(field)]
        return [(field.removesuffix("_digest"), self._fields[field]) for field in sent]


def _digest_of_spooled(file: SpoolWriter, algorithm: str, declared: str) -> str:
    """Return the file's digest, reading it again: the field came after the file (distutils)."""
    with storage_faults("the upload"), file.path.open("rb") as content:
        return file_digest(content, partial(new_hasher, algorithm, declared)).hexdigest()
