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

from dataclasses import replace
from functools import partial
from hashlib import file_digest
from typing import Final

from wheelyard.errors import Invalid, quoted
from wheelyard.http.uploads.form_fields import (
    ACTION_FIELD,
    ATTESTATIONS_FIELD,
    CHECKED_FIELDS,
    DIGEST_LENGTHS,
    FILETYPE_SUFFIXES,
    UNSUPPORTED_ACTIONS,
    FieldDecoder,
    checked_value,
    has_attestations,
    invalid_field,
    new_hasher,
)
from wheelyard.http.uploads.multipart_parser import MultipartParser, PartHeaders
from wheelyard.model.access import Caller
from wheelyard.operations.spooling import MIB, SpooledUpload, SpoolWriter
from wheelyard.operations.upload import Uploads
from wheelyard.storage.disk import storage_faults

FILE_FIELD: Final = "content"

MAX_PARTS: Final = 20_000
"""Parts of a form."""
FIELD_LIMIT_BYTES: Final = 4 << 20
"""Bytes of one part that is not the package."""
FIELDS_LIMIT_BYTES: Final = 32 << 20
"""Bytes of all parts that are not the package, and of the headers of all parts."""

NON_PACKAGE_FIELDS = frozenset({"gpg_signature", ATTESTATIONS_FIELD})


class UploadFormReader:
    """
    A form read from chunks, by one thread at a time; after a fault it is of no more use.

    Args:
        boundary: As `boundary_of` returned it.
        uploads: Admits the file as soon as its name is known, and has the spool that it goes to.
        caller: Who sends the form.
    """

    def __init__(self, boundary: bytes, uploads: Uploads, caller: Caller) -> None:
        self._parts = MultipartParser(boundary)
        self._uploads = uploads
        self._caller = caller
        self._claims: dict[str, str] = {}
        """What each field of CLAIM_FIELDS says; empty where it is as good as missing."""
        self._has_attestations = False
        self._file: SpoolWriter | None = None
        self._other_file: str | None = None
        self._part: SpoolWriter | FieldDecoder | None = None
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
            if isinstance(event, PartHeaders):
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
        if claims.get(ACTION_FIELD) in UNSUPPORTED_ACTIONS:
            return None
        if file is None:
            raise self._no_file()
        self._check_claims(file)
        return replace(
            file.upload(),
            form_name=claims.get("name", ""),
            form_version=claims.get("version", ""),
            has_attestations=self._has_attestations,
        )

    def close(self) -> None:
        """Remove the scratch file."""
        if self._file is not None:
            self._file.remove()

    def _begin(self, part: "PartHeaders") -> None:
        self._count += 1
        if self._count > MAX_PARTS:
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
            raise invalid_field(
                "The field 'content' must be a file, with a filename. "
                "With curl, write 'content=@FILE'."
            )
        else:
            self._part = FieldDecoder(name)

    def _take(self, data: bytes) -> None:
        if self._part is None or self._part is not self._file:
            self._size += len(data)
            if self._size > FIELD_LIMIT_BYTES:
                raise _oversized("A field of the form", FIELD_LIMIT_BYTES)
            self._weigh(len(data))
        if self._part is not None:
            self._part.write(data)

    def _end(self) -> None:
        match self._part:
            case SpoolWriter(size=0, distribution=distribution):
                raise Invalid(
                    f"The file {quoted(distribution.filename)} is empty. Build it again.",
                    code="invalid_archive",
                )
            case FieldDecoder(name=name) as field:
                field.write(b"", final=True)
                if name == ATTESTATIONS_FIELD:
                    self._has_attestations |= has_attestations(field.text)
                elif name in CHECKED_FIELDS:
                    self._claims[name] = checked_value(name, field.text)

    def _weigh(self, size: int) -> None:
        self._fields_size += size
        if self._fields_size > FIELDS_LIMIT_BYTES:
            raise _oversized("The form without its file", FIELDS_LIMIT_BYTES)

    def _opened(self, name: str, filename: str) -> SpoolWriter | None:
        """Return where a file goes, None if it is not the package, as a signature is not."""
        if name in CHECKED_FIELDS:
            raise invalid_field(
                f"The field {quoted(name)} must be text, and it was sent as a file."
            )
        self._has_attestations |= name == ATTESTATIONS_FIELD
        may_be = name not in NON_PACKAGE_FIELDS
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
        distribution = uploads.authorize(filename, self._caller)
        hashers = {name: new_hasher(name, digest) for name, digest in self._digests()}
        limit = uploads.rules.max_size
        self._file = SpoolWriter(uploads.spool, distribution, limit, "the upload", hashers)
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

    def _check_claims(self, file: SpoolWriter) -> None:
        """Compare the file with its type and with every digest that the client sent."""
        filetype, filename = self._claims.get("filetype"), file.distribution.filename
        if filetype and not filename.endswith(FILETYPE_SUFFIXES[filetype]):
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
        claimed = ((field, self._claims.get(field)) for field in DIGEST_LENGTHS)
        return [(field.removesuffix("_digest"), digest) for field, digest in claimed if digest]


def _oversized(what: str, limit: int) -> Invalid:
    return Invalid(
        f"{what} is larger than {limit / MIB:g} MiB. Send less metadata with the file.",
        code="too_large",
    )


def _read_again(file: SpoolWriter, algorithm: str, claimed: str) -> str:
    """Return a digest that was claimed only behind the file, as distutils does."""
    with storage_faults("the upload"), file.path.open("rb") as content:
        return file_digest(content, partial(new_hasher, algorithm, claimed)).hexdigest()
