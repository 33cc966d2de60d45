"""Small right wheels and sdists, made in memory, and forms to send them with."""

import hashlib
from dataclasses import dataclass

from tests.http.servers import Answer, RunningServer
from tests.operations.distributions import make_sdist, make_wheel

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
    metadata, part = _metadata(name, version, lines), name.replace("-", "_")
    tag = tag or "py3-none-any"
    made = make_wheel(part, version, content=filler, tag=tag, metadata=metadata)
    return Package(made.filename, made.body, metadata)


def sdist(name: str = "demo", version: str = "1.0", *lines: str) -> Package:
    """Make an sdist; `lines` are further ones of its PKG-INFO."""
    metadata = _metadata(name, version, lines)
    made = make_sdist(name.replace("-", "_"), version, metadata=metadata)
    return Package(made.filename, made.body, metadata)


def post(
    server: RunningServer,
    package: Package,
    path: str = "/legacy/",
    *,
    token: str | None = None,
    **fields: str,
) -> Answer:
    """Upload a package; without `token`, the server's first one is sent; if it is empty, none."""
    token = server.token if token is None else token
    return server.client.request(
        "POST",
        path,
        data=fields,
        files={"content": (package.filename, package.data)},
        auth=("__token__", token) if token else None,
    )


def publish(server: RunningServer, *packages: Package) -> None:
    """Upload packages, all of which have to be taken."""
    for package in packages:
        answer = post(server, package)
        assert answer.status_code == 200, answer.text


def form(package: Package, boundary: bytes = b"frontier") -> bytes:
    """Write the smallest form that holds a package."""
    head = f'Content-Disposition: form-data; name="content"; filename="{package.filename}"'
    start = b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n"
    return start + package.data + b"\r\n--" + boundary + b"--\r\n"


def _metadata(name: str, version: str, lines: tuple[str, ...]) -> bytes:
    has_imports = any(line.startswith("Import-") for line in lines)
    number = "2.5" if has_imports else "2.4"
    head = (f"Metadata-Version: {number}", f"Name: {name}", f"Version: {version}")
    return "".join(f"{line}\n" for line in (*head, *lines)).encode()
