"""Small right wheels and sdists, made in memory, and forms to send them with."""

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from dataclasses import dataclass

from tests.http.servers import Answer, Site

PYTHON = ">=3.9"


@dataclass(frozen=True)
class Package:
    """A distribution in memory."""

    filename: str
    data: bytes
    metadata: bytes
    """Its METADATA or PKG-INFO."""

    @property
    def sha256(self) -> str:
        """The digest of its bytes."""
        return hashlib.sha256(self.data).hexdigest()


def wheel(
    name: str = "demo", version: str = "1.0", *lines: str, filler: bytes = b"", tag: str = ""
) -> Package:
    """Make a wheel; `lines` are further ones of its METADATA, `filler` makes it large."""
    metadata = _metadata(name, version, lines)
    part = name.replace("-", "_")
    info = f"{part}-{version}.dist-info"
    tag = tag or "py3-none-any"
    members = {
        f"{part}/__init__.py": b"",
        f"{part}/filler.bin": filler,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = "".join(_record_line(path, data) for path, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return Package(f"{part}-{version}-{tag}.whl", buffer.getvalue(), metadata)


def sdist(name: str = "demo", version: str = "1.0", *lines: str) -> Package:
    """Make an sdist; `lines` are further ones of its PKG-INFO."""
    metadata = _metadata(name, version, lines)
    top = f"{name.replace('-', '_')}-{version}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in {"PKG-INFO": metadata, "pyproject.toml": b"[project]\n"}.items():
            member = tarfile.TarInfo(f"{top}/{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return Package(f"{top}.tar.gz", gzip.compress(buffer.getvalue(), mtime=0), metadata)


def post(
    site: Site,
    package: Package,
    path: str = "/legacy/",
    *,
    token: str | None = None,
    **fields: str,
) -> Answer:
    """Upload a package; `token` is the site's first one if it is not given, and none if empty."""
    token = site.token if token is None else token
    return site.client.request(
        "POST",
        path,
        data=fields,
        files={"content": (package.filename, package.data)},
        auth=("__token__", token) if token else None,
    )


def publish(site: Site, *packages: Package) -> None:
    """Upload packages, all of which have to be taken."""
    for package in packages:
        answer = post(site, package)
        assert answer.status_code == 200, answer.text


def form(package: Package, boundary: bytes = b"frontier") -> bytes:
    """Write the smallest form that holds a package."""
    head = f'Content-Disposition: form-data; name="content"; filename="{package.filename}"'
    start = b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n"
    return start + package.data + b"\r\n--" + boundary + b"--\r\n"


def _metadata(name: str, version: str, lines: tuple[str, ...]) -> bytes:
    head = ("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}")
    return "".join(f"{line}\n" for line in (*head, *lines)).encode()


def _record_line(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(data)}\n"
