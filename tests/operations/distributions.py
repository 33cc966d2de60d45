"""Small distributions that are valid in every respect, made in memory."""

import base64
import hashlib
import io
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from wheelyard.model.distribution_filename import filename_readings
from wheelyard.operations.spooled_upload import SpooledUpload


@dataclass(frozen=True)
class Made:
    """A distribution: its filename and its bytes."""

    filename: str
    body: bytes

    @property
    def sha256(self) -> str:
        """The digest of the bytes."""
        return hashlib.sha256(self.body).hexdigest()

    def arrival(self, folder: Path, *, name: str = "", version: str = "") -> SpooledUpload:
        """Spool the bytes in a folder, and return them as they arrive there with these claims."""
        with NamedTemporaryFile(prefix="spooled-", dir=folder, delete=False) as file:
            file.write(self.body)
        path = Path(file.name)
        distribution, *others = filename_readings(self.filename, is_lenient=True)
        return SpooledUpload(
            distribution=distribution,
            other_readings=tuple(others),
            path=path,
            size=len(self.body),
            sha256=self.sha256,
            form_name=name,
            form_version=version,
        )

    def write(self, folder: Path) -> Path:
        """Write the file under its own name."""
        path = folder / self.filename
        path.write_bytes(self.body)
        return path


def make_wheel(
    name: str = "demo",
    version: str = "1.0",
    *,
    content: bytes = b"",
    tag: str = "py3-none-any",
    metadata: bytes = b"",
    label: str = "",
    variant: bytes = b"",
) -> Made:
    """Return a wheel, perhaps with a label. Other `content` makes other bytes."""
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name.lower()}.py": content,
        f"{info}/METADATA": metadata or _metadata(name, version),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nTag: {tag}\n".encode(),
    }
    if variant:
        members[f"{info}/variant.json"] = variant
    lines = [f"{path},{_record_hash(body)},{len(body)}\n" for path, body in members.items()]
    record = f"{info}/RECORD"
    members[record] = "".join([*lines, f"{record},,\n"]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, body in members.items():
            archive.writestr(zipfile.ZipInfo(path), body)
    ending = f"-{label}.whl" if label else ".whl"
    return Made(f"{name}-{version}-{tag}{ending}", out.getvalue())


def make_requiring(name: str, version: str, *requirements: str) -> Made:
    """Return a wheel that requires something."""
    required = "".join(f"Requires-Dist: {text}\n" for text in requirements).encode()
    metadata = _metadata(name, version) + required
    return make_wheel(name.replace("-", "_"), version, metadata=metadata)


def make_sdist(
    name: str = "demo", version: str = "1.0", *, content: bytes = b"", metadata: bytes = b""
) -> Made:
    """Return an sdist; other `content`, other bytes."""
    top = f"{name}-{version}"
    members = {
        "PKG-INFO": metadata or _metadata(name, version),
        "pyproject.toml": b"[build-system]\nrequires = []\n",
        f"{name}.py": content,
    }
    return Made(f"{top}.tar.gz", zipped_tar({f"{top}/{path}": members[path] for path in members}))


def zipped_tar(members: dict[str, bytes]) -> bytes:
    """Return the bytes of a `.tar.gz` with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, body in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    # the same bytes on every Python, which gzip.compress does not give
    return zlib.compress(out.getvalue(), 9, zlib.MAX_WBITS | 16)


def _metadata(name: str, version: str) -> bytes:
    return f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n".encode()


def _record_hash(body: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"
