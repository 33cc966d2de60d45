"""Small wheels and sdists that are valid in every respect, made in memory."""

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
class Distribution:
    """A wheel or an sdist, or what has the filename of one."""

    filename: str
    body: bytes
    metadata: bytes = b""
    """Its METADATA or PKG-INFO, if a function of this module has made it."""

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
    *lines: str,
    content: bytes = b"",
    tag: str = "py3-none-any",
    metadata: bytes = b"",
    label: str = "",
    variant: bytes = b"",
) -> Distribution:
    """
    Return a wheel.

    Args:
        name: The project.
        version: The version.
        lines: Further ones of its METADATA.
        content: The bytes of its module; others, or more, make another file.
        tag: Its compatibility tags.
        metadata: The whole METADATA.
        label: The one of a variant.
        variant: Its `variant.json`.
    """
    metadata = metadata or _metadata(name, version, lines)
    part = name.replace("-", "_")
    info = f"{part}-{version}.dist-info"
    members = {
        f"{part.lower()}.py": content,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nTag: {tag}\n".encode(),
    }
    if variant:
        members[f"{info}/variant.json"] = variant
    entries = [f"{path},{_record_hash(body)},{len(body)}\n" for path, body in members.items()]
    record = f"{info}/RECORD"
    members[record] = "".join([*entries, f"{record},,\n"]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, body in members.items():
            archive.writestr(zipfile.ZipInfo(path), body)
    ending = f"-{label}.whl" if label else ".whl"
    return Distribution(f"{part}-{version}-{tag}{ending}", out.getvalue(), metadata)


def make_requiring(name: str, version: str, *requirements: str) -> Distribution:
    """Return a wheel that requires something."""
    return make_wheel(name, version, *(f"Requires-Dist: {text}" for text in requirements))


def make_sdist(
    name: str = "demo",
    version: str = "1.0",
    *lines: str,
    content: bytes = b"",
    metadata: bytes = b"",
) -> Distribution:
    """
    Return an sdist.

    Args:
        name: The project.
        version: The version.
        lines: Further ones of its PKG-INFO.
        content: The bytes of its module; others make another file.
        metadata: The whole PKG-INFO.
    """
    metadata = metadata or _metadata(name, version, lines)
    part = name.replace("-", "_")
    members = {
        "PKG-INFO": metadata,
        "pyproject.toml": b"[build-system]\nrequires = []\n",
        f"{part}.py": content,
    }
    top = f"{part}-{version}"
    body = zipped_tar({f"{top}/{path}": members[path] for path in members})
    return Distribution(f"{top}.tar.gz", body, metadata)


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


def _metadata(name: str, version: str, lines: tuple[str, ...]) -> bytes:
    has_imports = any(line.startswith("Import-") for line in lines)
    number = "2.5" if has_imports else "2.4"
    head = (f"Metadata-Version: {number}", f"Name: {name}", f"Version: {version}")
    return "".join(f"{line}\n" for line in (*head, *lines)).encode()


def _record_hash(body: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"
