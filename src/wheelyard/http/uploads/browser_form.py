"""
Reader of the upload form of the web pages: several files, each with a result of its own.

A browser sends no metadata: name and version come from the archives. The anti-forgery token is the
first field, so that it is checked before a byte of a file is written. All files wait in the spool
until the form has ended, and then each goes through the upload operation. So a form that was cut
off stores nothing.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, TooLarge, WheelyardError
from wheelyard.http.security.form_tokens import CSRF_FIELD, MAX_TOKEN_CHARS
from wheelyard.http.uploads.multipart_parser import MultipartParser, PartHeaders
from wheelyard.model.access import Caller
from wheelyard.operations.spooled_upload import SpoolWriter, empty_file
from wheelyard.operations.upload import PublishedFile, Uploads
from wheelyard.settings.sections import MIB

MAX_FILES: Final = 100
"""Files of one form."""
MAX_FILENAME_CHARS: Final = 255
"""Characters of the name of a refused file that are kept."""


class AcceptedFile(Struct, frozen=True):
    """A file of a form that is published."""

    filename: str
    project: NormalizedName
    published: PublishedFile


class RefusedFile(Struct, frozen=True):
    """A file of a form that was refused by an error."""

    filename: str
    error: WheelyardError


FileOutcome = AcceptedFile | RefusedFile
"""The result of one file of a form."""


class BrowserFormReader:
    """
    Reads an upload form of a browser from chunks, and uploads its files at the end.

    Args:
        boundary: The boundary of the form.
        uploads: The upload operation.
        caller: Who has sent the form.
        check_token: Raises Forbidden unless it is called with the right anti-forgery token.
        limit: The most bytes of a whole form.
    """

    def __init__(
        self,
        boundary: bytes,
        uploads: Uploads,
        caller: Caller,
        check_token: Callable[[str], None],
        limit: int,
    ) -> None:
        self._parser = MultipartParser(boundary)
        self._uploads = uploads
        self._caller = caller
        self._check_token = check_token
        self._limit = limit
        self._size = 0
        self._token: bytes | None = None
        """The anti-forgery token as far as it has come; None before and after its part."""
        self._is_genuine = False
        """Whether the token was right."""
        self._files: list[SpoolWriter | RefusedFile] = []
        """In the order of the form: files in the spool, and those that are refused already."""
        self._writer: SpoolWriter | None = None
        """The file that is received now, unless it is refused."""

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes; raise Invalid, Forbidden or TooLarge if the whole form is wrong."""
        self._size += len(chunk)
        if self._size > self._limit:
            raise form_too_large(self._uploads)
        for event in self._parser.feed(chunk):
            if isinstance(event, PartHeaders):
                self._start_part(event)
            elif event is None:
                self._finish_part()
            elif self._token is not None:
                self._token = (self._token + event)[:MAX_TOKEN_CHARS]
            elif self._writer is not None:
                self._write(self._writer, event)

    def finish(self, last: bytes) -> list[FileOutcome]:
        """Read the last bytes, upload every file, and return the result of each."""
        self.feed(last)
        self._parser.close()
        self._require_token()
        if not self._files:
            raise Invalid(
                "The form has no file. Choose one or more wheels and sdists.", code="missing_field"
            )
        return [
            each if isinstance(each, RefusedFile) else self._accept(each) for each in self._files
        ]

    def close(self) -> None:
        """Remove the files of the form from the spool; called after success, too."""
        for each in self._files:
            if isinstance(each, SpoolWriter):
                each.remove()

    def _start_part(self, part: PartHeaders) -> None:
        self._writer = None
        if part.name == CSRF_FIELD and not self._is_genuine:
            self._token = b""
        # without a filename: another field; with an empty one: no file was chosen
        elif part.filename:
            self._require_token()
            self._start_file(part.filename)

    def _finish_part(self) -> None:
        if self._token is not None:
            self._check_token(self._token.decode("latin-1"))
            self._token, self._is_genuine = None, True
        elif self._writer is not None:
            self._writer.close()
            if not self._writer.size:
                self._refuse(self._writer, empty_file(self._writer.distribution.filename))
            self._writer = None

    def _require_token(self) -> None:
        if not self._is_genuine:
            self._check_token("")

    def _start_file(self, filename: str) -> None:
        if len(self._files) == MAX_FILES:
            raise TooLarge(f"A form has at most {MAX_FILES} files. Choose fewer at a time.")
        uploads = self._uploads
        try:
            distribution = uploads.authorize(filename, self._caller)
            limit = uploads.rules.max_size
            self._writer = SpoolWriter(uploads.spool, distribution, limit, "the upload", {})
            self._files.append(self._writer)
        except WheelyardError as error:
            self._files.append(RefusedFile(filename[:MAX_FILENAME_CHARS], error))

    def _write(self, writer: SpoolWriter, data: bytes) -> None:
        try:
            writer.write(data)
        except WheelyardError as error:
            self._refuse(writer, error)

    def _refuse(self, writer: SpoolWriter, error: WheelyardError) -> None:
        """Replace the file that is received now by its error."""
        writer.remove()
        self._files[-1] = RefusedFile(writer.distribution.filename, error)
        self._writer = None

    def _accept(self, writer: SpoolWriter) -> FileOutcome:
        distribution = writer.distribution
        try:
            published = self._uploads.accept(writer.to_upload(), self._caller).published
        except WheelyardError as error:
            return RefusedFile(distribution.filename, error)
        return AcceptedFile(distribution.filename, distribution.project, published)


def form_too_large(uploads: Uploads) -> TooLarge:
    """Return the error for a form that is larger than the largest file and its metadata."""
    return TooLarge(
        f"The files of one form may have {uploads.rules.max_size // MIB} MiB together. Choose "
        "fewer at a time.",
        short="The form is too large.",
    )
