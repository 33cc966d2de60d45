"""The pages of the fake upstream, and how they may be wrong."""

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum, auto
from functools import cached_property
from threading import Event
from typing import Any

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from tests.distributions import Distribution
from wheelyard.model.distribution_filename import without_label

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html; charset=utf-8"
UPLOADED = datetime(2025, 6, 1, 12, tzinfo=UTC)
"""When a file was uploaded, where a test does not say."""
MIB = 1 << 20


class Fault(StrEnum):
    """What an upstream does wrong, or differently; of pages first, then of files."""

    HTML_ONLY = auto()
    """The page is HTML, whatever the client accepts."""
    NO_HASH = auto()
    MD5_ONLY = auto()
    NO_SIZE = auto()
    NO_UPLOAD_TIME = auto()
    UNHASHED_METADATA = auto()
    """The page says `true` of core metadata."""
    NAME_MISMATCH = auto()
    """The page says that it is the one of the project `acme-core`."""
    QUARANTINED = auto()
    NO_ETAG = auto()
    ETAG_CONSTANT = auto()
    """All pages have one ETag, and each conditional request is answered with 304."""
    DIGEST_CHANGE = auto()
    """From the second request for the page on, the files have other bytes and other digests."""
    REDIRECT_SAME = auto()
    """To another path for the same project, on the same host."""
    REDIRECT_OTHER = auto()
    """To a host that no setting names."""
    REDIRECT_NAME = auto()
    """Of a page: to the page of `acme-core`."""
    REDIRECT_METADATA_IP = auto()
    REDIRECT_LOOP = auto()
    REDIRECT_OTHER_SCHEME = auto()
    """To a `file:` URL."""
    ABS_URL_OTHER_HOST = auto()
    """Links lead to a host that no setting names."""
    ONE_URL_OTHER_HOST = auto()
    """The page has one more file, which is on a host that nobody has named."""
    URL_USERINFO = auto()
    URL_METADATA_IP = auto()
    URL_PRIVATE_HTTPS = auto()
    """Links lead by https to a private address."""
    RELATIVE_URL = auto()
    """Links are relative, to files on the host of the index."""
    GZIP_BOMB = auto()
    """A small body that is 200 MiB after decompression."""
    HUGE_PAGE = auto()
    """A page of more than 64 MiB."""
    BAD_JSON = auto()
    API_2_0 = auto()
    DOTDOT_FILENAME = auto()
    FOREIGN_FILE = auto()
    """The page lists a file of `acme-core`, too."""
    OTHER_FORMATS = auto()
    """The page lists version 8.0 without a file, and 9.0 with a `.tar.bz2` only."""
    SCRIPT_IN_YANK_REASON = auto()
    WRONG_CONTENT_TYPE = auto()
    """`application/octet-stream` of a page, `text/html` of a file."""
    ALTERNATE_LOCATIONS = auto()

    HANG = auto()
    """No answer until the upstream stops."""
    TRUNCATE = auto()
    """The connection is closed after half of the body."""
    RESET = auto()
    """The connection is reset after half of the body."""
    WRONG_BYTES = auto()
    """One bit of the body is another one."""
    SHORT = auto()
    """The body ends early, and its Content-Length says so."""
    LONG = auto()
    """The body has a mebibyte more, and its Content-Length says so."""
    CHUNKED = auto()
    """The body has no Content-Length."""


@dataclass(frozen=True, kw_only=True)
class FakeFile:
    """A file that the fake upstream lists."""

    filename: str
    body: bytes = field(repr=False)
    metadata: bytes = b""
    provenance: bytes = b""
    uploaded_at: datetime = UPLOADED
    requires_python: str = ""
    yanked: str | None = None
    project: str = ""
    """The normalised name, where the filename alone does not say it; the version is after it."""

    @classmethod
    def of(cls, package: Distribution, uploaded_at: datetime = UPLOADED) -> "FakeFile":
        """Return a package as a file; only wheels have core metadata beside them."""
        metadata = package.metadata if package.filename.endswith(".whl") else b""
        return cls(
            filename=package.filename,
            body=package.body,
            metadata=metadata,
            uploaded_at=uploaded_at,
        )

    @property
    def provenance_path(self) -> str:
        """The path of the provenance on the host of the index."""
        return f"/integrity/{self.name}/{self.version}/{self.filename}/provenance"

    @cached_property
    def sha256(self) -> str:
        """The digest of the bytes."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def name(self) -> str:
        """The normalised name of the project."""
        return self.project or project_of(self.filename)[0]

    @property
    def version(self) -> str:
        """The normalised version."""
        if self.project:
            text = self.filename[len(self.project) + 1 :]
            return str(Version(text.removesuffix(".tar.gz").removesuffix("-variants.json")))
        return project_of(self.filename)[1]

    def path(self, sha256: str = "") -> str:
        """Return the path of the file on the host of files, which looks like the real one's."""
        digest = sha256 or self.sha256
        return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{self.filename}"


@dataclass
class FakeProject:
    """A project of the fake upstream, and what is wrong with it at present."""

    name: str
    files: list[FakeFile] = field(default_factory=list)
    serial: int = 1000
    page_faults: frozenset[Fault] = frozenset()
    file_faults: frozenset[Fault] = frozenset()
    page_status: int = 200
    file_status: int = 200
    reason: bytes = b"no page"
    """The body of a page or a file whose status is another one."""
    headers: dict[str, str] = field(default_factory=dict)
    """Further ones of the page, such as Retry-After."""
    page_gate: Event | None = None
    """The page is sent once this is set."""
    file_gate: Event | None = None
    """Of each file, half of the bytes are sent; the others once this is set."""
    metadata_gate: Event | None = None
    """Core metadata is sent once this is set."""
    pages_sent: int = 0

    def shown(self) -> list[FakeFile]:
        """Return the files of the page at this request."""
        faults, again = self.page_faults, self.pages_sent > 0
        files = sorted(self.files, key=lambda file: file.filename)
        if Fault.DIGEST_CHANGE in faults and again:
            files = [changed(file) for file in files]
        return files


@dataclass(frozen=True)
class Places:
    """The roots of the listeners, without a slash at the end."""

    index: str
    files: str
    stranger: str


@dataclass(frozen=True)
class FakePage:
    """A page, ready to be sent."""

    content_type: str
    body: bytes = field(repr=False)
    etag: str
    encoding: str = ""


def project_of(filename: str) -> tuple[str, str]:
    """Return the normalised project and version of a filename."""
    if filename.endswith("-variants.json"):
        name, text, _ = filename.split("-")
        version = Version(text)
    elif filename.endswith(".whl"):
        name, version, *_ = parse_wheel_filename(without_label(filename))
    else:
        name, version = parse_sdist_filename(filename)
    return name, str(version)


def changed(file: FakeFile) -> FakeFile:
    """Return the file with other bytes under its name; archives ignore what is appended."""
    return replace(file, body=file.body + b"changed")


def make_page(project: FakeProject, places: Places, accept: str, url: str) -> FakePage:
    """Return the page of a project, for what a client accepts."""
    faults = project.page_faults
    if Fault.GZIP_BOMB in faults:
        return FakePage(JSON, gzip_bomb(200), '"bomb"', "gzip")
    entries = [_entry(file, faults, places, url) for file in project.shown()]
    is_json = Fault.HTML_ONLY not in faults and ("json" in accept or "html" not in accept)
    body = _json(project, entries) if is_json else _html(project, entries)
    if Fault.HUGE_PAGE in faults:
        body = body + b" " * (65 * MIB)
    if Fault.BAD_JSON in faults:
        body = body[:-20]
    kind = JSON if is_json else HTML
    if Fault.WRONG_CONTENT_TYPE in faults:
        kind = "application/octet-stream"
    constant = Fault.ETAG_CONSTANT in faults
    # so that no fault hides behind a 304
    digest = hashlib.sha256(body + "".join(sorted(faults)).encode()).hexdigest()
    etag = '"constant"' if constant else f'"{digest[:24]}"'
    return FakePage(kind, body, "" if Fault.NO_ETAG in faults else etag)


Entry = dict[str, Any]


def _entry(file: FakeFile, faults: frozenset[Fault], places: Places, url: str) -> Entry:
    """Return a file as a JSON page lists it."""
    reason = _yank_reason(file, faults)
    entry: Entry = {
        "filename": file.filename,
        "url": _link(file, faults, places, url),
        "hashes": _hashes(file, faults),
        "size": len(file.body),
        "upload-time": f"{file.uploaded_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "yanked": reason or reason is not None,
        "requires-python": file.requires_python or None,
    }
    if Fault.NO_SIZE in faults:
        del entry["size"]
    if Fault.NO_UPLOAD_TIME in faults:
        del entry["upload-time"]
    if file.metadata:
        digest = {"sha256": hashlib.sha256(file.metadata).hexdigest()}
        said = True if Fault.UNHASHED_METADATA in faults else digest
        entry["core-metadata"] = entry["data-dist-info-metadata"] = said
    if file.provenance:
        entry["provenance"] = file.provenance_path
    return entry


def _hashes(file: FakeFile, faults: frozenset[Fault]) -> dict[str, str]:
    if Fault.NO_HASH in faults:
        return {}
    if Fault.MD5_ONLY in faults:
        return {"md5": hashlib.md5(file.body, usedforsecurity=False).hexdigest()}
    return {"sha256": file.sha256}


def _yank_reason(file: FakeFile, faults: frozenset[Fault]) -> str | None:
    if Fault.SCRIPT_IN_YANK_REASON in faults:
        return "<script>alert('yanked')</script>" + "x" * 5000
    return file.yanked


def _link(file: FakeFile, faults: frozenset[Fault], places: Places, url: str) -> str:
    path = file.path()
    if Fault.RELATIVE_URL in faults:
        return "../" * url.rstrip("/").count("/") + path.removeprefix("/")
    if Fault.ABS_URL_OTHER_HOST in faults:
        return places.stranger + path
    if Fault.URL_METADATA_IP in faults:
        return f"http://169.254.169.254{path}"
    if Fault.URL_PRIVATE_HTTPS in faults:
        return f"https://10.1.2.3{path}"
    if Fault.URL_USERINFO in faults:
        return places.files.replace("://", "://user:secret@") + path
    return places.files + path


def _json(project: FakeProject, entries: list[Entry]) -> bytes:
    faults = project.page_faults
    odd = {**entries[0], "url": entries[0]["url"] + "?odd"} if entries else {}
    if Fault.DOTDOT_FILENAME in faults:
        prefix = f"../../../{project.name}-1.0"
        entries = [*entries, {**odd, "filename": f"{prefix}-py3-none-any.whl"}]
    if Fault.FOREIGN_FILE in faults:
        entries = [*entries, {**odd, "filename": "acme_core-99.0-py3-none-any.whl"}]
    if Fault.ONE_URL_OTHER_HOST in faults:
        filename = f"{project.name}-7.0-py3-none-any.whl"
        elsewhere = f"https://elsewhere.example.com/{filename}"
        entries = [*entries, {**odd, "filename": filename, "url": elsewhere}]
    versions = {file.version for file in project.shown()}
    if Fault.OTHER_FORMATS in faults:
        entries = [*entries, {**odd, "filename": f"{project.name}-9.0.tar.bz2"}]
        versions |= {"8.0", "9.0"}
    page: dict[str, Any] = {
        "meta": {
            "api-version": "2.0" if Fault.API_2_0 in faults else "1.4",
            "_last-serial": project.serial,
        },
        "name": "acme-core" if Fault.NAME_MISMATCH in faults else project.name,
        "versions": sorted(versions),
        "files": entries,
    }
    if Fault.QUARANTINED in faults:
        page["project-status"] = {"status": "quarantined", "reason": "malware"}
    if Fault.ALTERNATE_LOCATIONS in faults:
        page["alternate-locations"] = ["https://elsewhere.example.com/simple/" + project.name]
    return json.dumps(page).encode()


def _html(project: FakeProject, entries: Iterable[Entry]) -> bytes:
    faults = project.page_faults
    name = "acme-core" if Fault.NAME_MISMATCH in faults else project.name
    version = "2.0" if Fault.API_2_0 in faults else "1.4"
    head = f'<meta name="pypi:repository-version" content="{version}">'
    if Fault.QUARANTINED in faults:
        head += '<meta name="pypi:project-status" content="quarantined">'
    links = "<br>\n".join(_anchor(entry) for entry in entries)
    title = f"<title>Links for {name}</title>"
    return f"<!DOCTYPE html><html><head>{head}{title}</head><body>{links}</body></html>".encode()


def _anchor(entry: Entry) -> str:
    url = entry["url"] + "".join(f"#{kind}={digest}" for kind, digest in entry["hashes"].items())
    attributes = {"href": url}
    if entry["requires-python"]:
        attributes["data-requires-python"] = entry["requires-python"]
    if entry["yanked"] is not False:
        attributes["data-yanked"] = "" if entry["yanked"] is True else entry["yanked"]
    if metadata := entry.get("core-metadata"):
        said = "true" if metadata is True else f"sha256={metadata['sha256']}"
        attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = said
    if provenance := entry.get("provenance"):
        attributes["data-provenance"] = provenance
    written = "".join(f' {name}="{html.escape(text)}"' for name, text in attributes.items())
    return f"<a{written}>{html.escape(entry['filename'])}</a>"


def gzip_bomb(mebibytes: int) -> bytes:
    """Return a gzip body of so many mebibytes of blanks; the same piece again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + piece * (mebibytes - 1)


def basic(username: str, password: str) -> str:
    """Return the Authorization header of Basic."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def normal(name: str) -> str:
    """Return the normalised name."""
    return canonicalize_name(name)
