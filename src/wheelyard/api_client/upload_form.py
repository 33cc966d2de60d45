"""The form of an upload, read from the file while it is sent."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Final

from wheelyard.errors import Invalid, quoted

CHUNK_BYTES: Final = 1024**2
_QUOTES: Final = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""How browsers write these characters in the name of a file."""


@dataclass(slots=True)
class UploadForm:
    """The form for one file; each call begins it anew."""

    path: Path
    file_size: int
    boundary: str
    head: bytes
    """All before the file."""
    progress: Callable[[int], None]
    """Called with the size of each chunk; with a negative one if the file is sent again."""
    _sent: int = field(default=0, init=False)

    @property
    def tail(self) -> bytes:
        """All after the file."""
        return f"\r\n--{self.boundary}--\r\n".encode()

    @property
    def size(self) -> int:
        """The bytes of the whole form."""
        return len(self.head) + self.file_size + len(self.tail)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request."""
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(self.size),
        }

    def __call__(self) -> Iterator[bytes]:
        """Yield the form in chunks; raise Invalid if the file has changed since it was opened."""
        self.progress(-self._sent)
        self._sent = 0
        yield self.head
        with self.path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                self._sent += len(chunk)
                if self._sent > self.file_size:
                    break
                yield chunk
                self.progress(len(chunk))
        if self._sent != self.file_size:
            raise Invalid(
                f"{quoted(self.path.name)} was changed while it was uploaded. Upload it again.",
                code="digest_mismatch",
            )
        yield self.tail


def open_form(path: Path, boundary: str, progress: Callable[[int], None]) -> UploadForm:
    """Return the form for a file, with its digest; raise Invalid if it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise Invalid(
            f"{path} cannot be read: {error.strerror}. Name a wheel or an sdist that is there.",
            code="invalid_filename",
        ) from error
    fields = {":action": "file_upload", "protocol_version": "1", "sha256_digest": digest}
    parts = [f'form-data; name="{name}"\r\n\r\n{text}' for name, text in fields.items()]
    filename = path.name.translate(_QUOTES)
    parts.append(f'form-data; name="content"; filename="{filename}"\r\n\r\n')
    lines = f"\r\n--{boundary}\r\nContent-Disposition: ".join(("", *parts))
    head = lines.removeprefix("\r\n").encode(errors="surrogateescape")
    return UploadForm(path, size, boundary, head, progress)
