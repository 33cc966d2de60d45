"""Collections to measure with: wheels made in memory, and filled stores."""

import io
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import BinaryIO

from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.format import ensure_format
from wheelyard.catalog.journaled_documents import CommitCodec, ProjectCodec, project_journal
from wheelyard.catalog.projects import NameList
from wheelyard.model.project import Commit, Event, File, Project
from wheelyard.model.project_changes import with_commit
from wheelyard.storage.base import Key
from wheelyard.storage.local import LocalStore

NOON = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
BLOCK = sha256(b"benchmark").digest() * 32_768
"""A MiB."""
SUMMARY = "Something to measure with"
BOUNDARY = "5c4f3d2e1b0a49788796a5b4c3d2e1f0"


@dataclass(frozen=True)
class Wheel:
    """A small wheel, made in memory from the name and the version of a release."""

    project: str
    version: str
    requires: tuple[str, ...] = ()
    description: str = "Nothing more."
    build: str = ""
    """A hyphen and the build tag, or an empty string."""

    @property
    def filename(self) -> str:
        """The filename of the wheel."""
        return f"{self.project.replace('-', '_')}-{self.version}{self.build}-py3-none-any.whl"

    @cached_property
    def body(self) -> bytes:
        """The bytes of the wheel, about a kilobyte."""
        buffer = io.BytesIO()
        self.write(buffer, blocks=0)
        return buffer.getvalue()

    @property
    def metadata(self) -> bytes:
        """The core metadata of the wheel."""
        requires = "".join(f"Requires-Dist: {each}\n" for each in self.requires)
        return (
            f"Metadata-Version: 2.1\nName: {self.project}\nVersion: {self.version}\n"
            f"Summary: {SUMMARY}\nRequires-Python: >=3.9\n"
            f"Description-Content-Type: text/markdown\n{requires}\n{self.description}\n"
        ).encode()

    def write(self, target: BinaryIO, *, blocks: int) -> None:
        """Write the wheel into `target`, with a data file of `blocks` MiB, or none for 0."""
        stem = self.project.replace("-", "_")
        info = f"{stem}-{self.version}.dist-info"
        members = {
            f"{stem}/__init__.py": b'"""A package."""\n' * 40,
            f"{info}/METADATA": self.metadata,
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: benchmarks\n"
            b"Root-Is-Purelib: true\nTag: py3-none-any\n",
        }
        lines = list[str]()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            if blocks:
                lines.append(_write_blocks(archive, f"{stem}/data.bin", blocks))
            for name, content in members.items():
                archive.writestr(name, content)
                lines.append(_record(name, sha256(content).digest(), len(content)))
            record = "".join([*lines, f"{info}/RECORD,,\n"])
            archive.writestr(f"{info}/RECORD", record)

    def form(self) -> bytes:
        """Return the body of a request that uploads the wheel, as twine writes it."""
        head, tail = self.form_around(sha256(self.body).hexdigest())
        return head + self.body + tail

    def form_around(self, digest: str) -> tuple[bytes, bytes]:
        """
        Return the bytes before and after the wheel in a form that uploads it.

        `digest` is the SHA-256 of the wheel.
        """
        fields = {
            ":action": "file_upload",
            "protocol_version": "1",
            "metadata_version": "2.1",
            "name": self.project,
            "version": self.version,
            "filetype": "bdist_wheel",
            "pyversion": "py3",
            "summary": SUMMARY,
            "requires_python": ">=3.9",
            "sha256_digest": digest,
        }
        parts = "".join(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        file = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="content"; '
            f'filename="{self.filename}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        )
        return (parts + file).encode(), f"\r\n--{BOUNDARY}--\r\n".encode()


class Sdist(Wheel):
    """A small sdist, made in memory from the same as a wheel."""

    @property
    def filename(self) -> str:
        """The filename of the sdist."""
        return f"{self.project.replace('-', '_')}-{self.version}.tar.gz"

    def write(self, target: BinaryIO, *, blocks: int) -> None:  # noqa: ARG002 - always small
        """Write the sdist into `target`."""
        content = {"PKG-INFO": self.metadata, "pyproject.toml": b"[build-system]\nrequires = []\n"}
        with tarfile.open(fileobj=target, mode="w:gz") as archive:
            for name, body in content.items():
                member = tarfile.TarInfo(f"{self.filename.removesuffix('.tar.gz')}/{name}")
                member.size = len(body)
                archive.addfile(member, io.BytesIO(body))


def wheels(project: str, count: int) -> Iterator[Wheel]:
    """Return an iterator of the wheels of `count` releases of a project, 1.0 first."""
    return (Wheel(project, f"1.{minor}") for minor in range(count))


def collection(projects: int, files: int) -> dict[str, int]:
    """Return the number of files by project, for as many projects, with as many files each."""
    return {f"project-{number:05}": files for number in range(projects)}


def fill_wheelyard(folder: Path, plan: Mapping[str, int]) -> None:
    """
    Write the documents of a collection into a new store, each project as one commit.

    The files and the journal are missing, and digests are invented: pages need none of these.
    """
    ensure_format(LocalStore(folder, Random()))
    codec, listing = ProjectCodec(), list[NormalizedName]()
    for project, count in plan.items():
        name = canonicalize_name(project)
        listing.append(name)
        _write(folder, keys.project(name), codec.encode(_document(name, count)))
    names = Codec(NameList).encode(NameList(tuple(sorted(listing))))
    _write(folder, keys.PROJECT_NAMES, names)


def fill_with_files(folder: Path, projects: Iterable[Sequence[Wheel]]) -> None:
    """Write whole projects into a new store, as an import would have: files, journal, documents."""
    ensure_format(LocalStore(folder, Random()))
    names = list[NormalizedName]()
    for distributions in projects:
        name, files = canonicalize_name(distributions[0].project), list[File]()
        for distribution in distributions:
            body, filename = distribution.body, distribution.filename
            digest = sha256(body).hexdigest()
            _write(folder, keys.distribution(name, digest, filename), body)
            _write(folder, keys.core_metadata(name, digest, filename), distribution.metadata)
            files.append(_file(distribution, digest, len(body)))
        events = tuple(
            Event.uploaded(file, SUMMARY, at=NOON, by="local:benchmark") for file in files
        )
        commit = Commit(number=1, id="0" * 32, previous="", events=events)
        document = project_journal(name).fold(Project(name=name), commit)
        _write(folder, project_journal(name).entry_key(1), CommitCodec().encode(commit))
        _write(folder, keys.project(name), ProjectCodec().encode(document))
        names.append(name)
    listing = NameList(tuple(sorted(names)))
    _write(folder, keys.PROJECT_NAMES, Codec(NameList).encode(listing))


def add_newest_metadata(folder: Path, project: str, files: int) -> None:
    """Write the core metadata of the newest release of a project, which its web page shows."""
    *_, newest = wheels(project, files)
    key = keys.core_metadata(
        canonicalize_name(project), _file(newest, _invented(newest)).sha256, newest.filename
    )
    _write(folder, key, newest.metadata)


def fill_pypiserver(folder: Path, plan: Mapping[str, int]) -> None:
    """Write the wheels of a collection into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for project, count in plan.items():
        for wheel in wheels(project, count):
            (folder / wheel.filename).write_bytes(wheel.body)


def _document(name: NormalizedName, count: int) -> Project:
    files = [_file(wheel, _invented(wheel)) for wheel in wheels(name, count)]
    files.sort(key=lambda file: file.filename)
    events = tuple(Event.uploaded(file, at=NOON, by="local:benchmark") for file in files)
    commit = Commit(number=1, id="0" * 32, previous="", events=events[-1:])
    return with_commit(Project(name=name, files=tuple(files)), commit)


def _invented(wheel: Wheel) -> str:
    """Return a digest for a wheel that is not made."""
    return sha256(wheel.filename.encode()).hexdigest()


def _file(wheel: Wheel, digest: str, size: int = 2048) -> File:
    return File(
        filename=wheel.filename,
        version=wheel.version,
        sha256=digest,
        size=size,
        uploaded_at=NOON,
        uploaded_by="local:benchmark",
        sidecars={"metadata": sha256(wheel.metadata).hexdigest()},
        requires_python=">=3.9",
    )


def _write(folder: Path, key: Key, body: bytes) -> None:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def _write_blocks(archive: zipfile.ZipFile, name: str, blocks: int) -> str:
    digest = sha256()
    info = zipfile.ZipInfo(name)  # stored, not compressed
    with archive.open(info, "w", force_zip64=True) as member:
        for _ in range(blocks):
            member.write(BLOCK)
            digest.update(BLOCK)
    return _record(name, digest.digest(), blocks * len(BLOCK))


def _record(name: str, digest: bytes, size: int) -> str:
    return f"{name},sha256={urlsafe_b64encode(digest).rstrip(b'=').decode()},{size}\n"
