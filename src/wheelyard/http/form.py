"""
The form of an upload, read as it arrives: the file goes to the spool, next to nothing is kept.

A field may be missing, empty or UNKNOWN. The file is the part `content`, or, where there is none,
whatever part has a distribution's filename. Follows the upload API of the packaging specifications
(the "legacy" API) over RFC 7578.
"""

from dataclasses import dataclass, replace
from typing import Final

from wheelyard.errors import Invalid, quoted
from wheelyard.http.claims import (
    ACTION,
    ATTESTATIONS,
    CLAIM_FIELDS,
    RETIRED_ACTIONS,
    Field,
    are_attestations,
    check_claims,
    claim_of,
    hashers_of,
)
from wheelyard.http.multipart import Part, PartReader
from wheelyard.model.access import Caller
from wheelyard.operations.spooling import MIB, Arrival, Spooling
from wheelyard.operations.upload import Uploads

FILE_FIELD = "content"

_NEVER_THE_FILE = frozenset({"gpg_signature", ATTESTATIONS})


@dataclass(frozen=True, slots=True)
class FormLimits:
    """How much a form may hold besides the package; sizes in bytes."""

    parts: int = 20_000
    field: int = 4 << 20
    """One part that is not the package."""
    fields: int = 32 << 20
    """All parts that are not the package, and the headers of all parts."""
    header: int = 16 << 10
    """The headers of one part."""


USUAL: Final = FormLimits()


class FormReader:
    """
    A form read from chunks, by one thread at a time; after a fault it is of no more use.

    Args:
        boundary: As `boundary_of` returned it.
        uploads: Admits the file as soon as its name is known, and has the spool that it goes to.
        caller: Who sends the form.
        limits: How much it may hold.
    """

    def __init__(
        self, boundary: bytes, uploads: Uploads, caller: Caller, limits: FormLimits = USUAL
    ) -> None:
        self._parts = PartReader(boundary, limits.header)
        self._uploads = uploads
        self._caller = caller
        self._limits = limits
        self._claims: dict[str, str] = {}
        self._seen: set[str] = set()
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

    def finish(self) -> Arrival | None:
        """
        Return the file, once the whole body has been fed; None if the form brings none on purpose.

        Old clients ask with their `:action` for what no index does any more.

        Raises:
            Invalid: The body was cut off (code `incomplete_body`), it has no file (code
                `missing_field`), or what it claims of the file is not so (codes `invalid_filename`,
                `digest_mismatch`).
        """
        self._parts.close()
        claims, file = self._claims, self._file
        if claims.get(ACTION) in RETIRED_ACTIONS:
            return None
        if file is None:
            raise self._no_file()
        check_claims(claims, file)
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

    def _begin(self, part: Part) -> None:
        """Choose what becomes of a part."""
        self._count += 1
        if self._count > self._limits.parts:
            raise Invalid(
                "The form has too many fields. Send each field of the metadata once.",
                code="too_large",
                short="The form has too many fields.",
            )
        self._size = 0
        self._weigh(part.size)
        name, filename = part.name, part.filename
        if name in self._seen:
            raise Invalid(
                f"The form has the field {quoted(name)} twice. Send it once.",
                code="duplicate_field",
            )
        if name in CLAIM_FIELDS:
            self._seen.add(name)
        self._part = self._field(name) if filename is None else self._opened(name, filename)

    def _take(self, data: bytes) -> None:
        """Pass bytes on to the part, counted unless they are the package's."""
        if self._part is None or self._part is not self._file:
            self._size += len(data)
            if self._size > self._limits.field:
                raise _oversized("A field of the form", self._limits.field)
            self._weigh(len(data))
        if self._part is not None:
            self._part.write(data)

    def _end(self) -> None:
        """Look at a part as a whole."""
        match self._part:
            case Spooling(size=0, distribution=distribution):
                raise Invalid(
                    f"The file {quoted(distribution.filename)} is empty. Build it again.",
                    code="invalid_archive",
                )
            case Field(name=name) as field:
                text = field.end()
                if name == ATTESTATIONS:
                    self._has_attestations |= are_attestations(text)
                elif name in CLAIM_FIELDS and (claim := claim_of(name, text)) is not None:
                    self._claims[name] = claim

    def _weigh(self, size: int) -> None:
        self._fields_size += size
        if self._fields_size > self._limits.fields:
            raise _oversized("The form without its file", self._limits.fields)

    def _field(self, name: str) -> Field:
        if name == FILE_FIELD:
            raise Invalid(
                "The field 'content' must be a file, with a filename. "
                "With curl, write 'content=@FILE'.",
                code="invalid_field",
            )
        return Field(name)

    def _opened(self, name: str, filename: str) -> Spooling | None:
        """Return where a file goes, None if it is not the package, as a signature is not."""
        if name in CLAIM_FIELDS:
            raise Invalid(
                f"The field {quoted(name)} must be text, and it was sent as a file.",
                code="invalid_field",
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
        limit, hashers = uploads.rules.max_size, hashers_of(self._claims)
        self._file = Spooling(uploads.spool, distribution, limit, "the upload", hashers)
        return self._file

    @property
    def _suffixes(self) -> tuple[str, ...]:
        """How a file's name must end to be taken for the package when it is not `content`."""
        return (
            (".whl", ".tar.gz", ".zip") if self._uploads.rules.zip_sdists else (".whl", ".tar.gz")
        )

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


def _oversized(what: str, limit: int) -> Invalid:
    return Invalid(
        f"{what} is larger than {limit / MIB:g} MiB. Send less metadata with the file.",
        code="too_large",
    )
