"""Upload forms, built part by part, and read as the server reads them."""

from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir

import pytest
from msgspec.structs import replace

from tests.http.servers import memory_index
from tests.operations.in_memory_index import ALICE
from wheelyard.errors import Invalid
from wheelyard.http.upload_form import FormReader
from wheelyard.operations.spooled_upload import SpooledUpload
from wheelyard.operations.uploads import Uploads

BOUNDARY = b"frontier"
FILENAME = "demo-1.0-py3-none-any.whl"
DATA = b"PK\x03\x04\r\n--front" + bytes(range(256))
SHA256 = sha256(DATA).hexdigest()
FIELDS = {
    ":action": "file_upload",
    "protocol_version": "1",
    "metadata_version": "2.4",
    "name": "demo",
    "version": "1.0",
    "filetype": "bdist_wheel",
    "pyversion": "py3",
    "description": "One\n\nTwo\r\n",
    "sha256_digest": SHA256,
}

Part = bytes


def part(disposition: str | bytes, data: bytes = DATA, *headers: str) -> Part:
    """Return one part, its boundary line before it."""
    if isinstance(disposition, str):
        disposition = disposition.encode()
    more = "".join(f"{header}\r\n" for header in headers).encode()
    head = b"Content-Disposition: form-data; " + disposition + b"\r\n" + more
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n" + data + b"\r\n"


def text(name: str, value: str | bytes = "x") -> Part:
    """Return a field."""
    return part(f'name="{name}"', value if isinstance(value, bytes) else value.encode())


def file(name: str = "content", filename: str = FILENAME, data: bytes = DATA) -> Part:
    """Return a file."""
    return part(f'name="{name}"; filename="{filename}"', data)


def form(*parts: Part, end: bytes = b"\r\n") -> bytes:
    """Return a body."""
    return b"".join(parts) + b"--" + BOUNDARY + b"--" + end


def fields(**changes: str | None) -> list[Part]:
    """Return the fields of the good form, some of them changed or, with None, left out."""
    changed: Mapping[str, str | None] = FIELDS | changes
    return [text(name, value) for name, value in changed.items() if value is not None]


def chunks_of(body: bytes, size: int) -> Iterable[bytes]:
    """Yield `body` in pieces of `size` bytes."""
    return (body[at : at + size] for at in range(0, len(body), size))


@cache
def uploads() -> Uploads:
    """Return what takes uploads, into an index in memory."""
    return memory_index(Path(gettempdir())).uploads


def read(body: bytes | Iterable[bytes]) -> SpooledUpload | None:
    """Read a body, in one piece unless it comes in pieces; nothing of its file stays."""
    reader = FormReader(BOUNDARY, uploads(), ALICE)
    try:
        for chunk in [body] if isinstance(body, bytes) else body:
            reader.feed(chunk)
        arrival = reader.finish(b"")
        if arrival is None:
            return None
        spooled = arrival.path.read_bytes()
        assert (len(spooled), sha256(spooled).hexdigest()) == (arrival.size, arrival.sha256)
        return replace(arrival, path=Path())
    finally:
        reader.close()


def upload(body: bytes | Iterable[bytes]) -> SpooledUpload:
    """Read a body that is an upload."""
    arrival = read(body)
    assert arrival is not None
    return arrival


def code_of(body: bytes | Iterable[bytes]) -> str:
    """Return the code with which a body is refused."""
    with pytest.raises(Invalid) as caught:
        read(body)
    return caught.value.code


GOOD = form(*fields(), file())
