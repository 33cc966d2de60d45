"""
Pages of the Simple API as JSON and HTML: the project list, and the files of a project.

Version 1.4 of the API (PEPs 503, 592, 629, 658, 691, 700, 714, 792); 1.0 for a project of an
upstream index that does not say the size of each file, as PEP 700 requires. By default, links are
relative, so a page has the same bytes on a server, in a static export, under a path prefix and
behind any host name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from html import escape
from itertools import groupby, islice
from typing import Final, TypeVar
from urllib.parse import quote

from msgspec.json import Encoder
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.model.project import Status
from wheelyard.model.public_packages import HIDDEN_BY_VIEW, FileReason
from wheelyard.rendering.listing import HiddenFiles, ShownFile, ShownProject

PIECE: Final = 500
"""Items that are encoded at a time, in a millisecond: no other thread of Python runs meanwhile."""


def json_with_list(document: Mapping[str, object], name: str, items: Iterable[object]) -> bytes:
    """Return the JSON of a document, which is not empty, with a list as its last member."""
    encoder, rest = Encoder(), iter(items)
    parts = [encoder.encode(document)[:-1], b',"%b":[' % name.encode()]
    while piece := list(islice(rest, PIECE)):
        # another thread may run between two pieces
        parts += encoder.encode(piece)[1:-1], b","
    if parts[-1] == b",":
        parts.pop()
    return b"".join((*parts, b"]}"))


F = TypeVar("F", bound=ShownFile)

API_VERSION: Final = "1.4"
OLD_API_VERSION: Final = "1.0"
"""Of a page that lacks the size of a file."""
FILES_FROM_DETAIL: Final = "../../files"
"""The URL of the folder of files, relative to a project's page."""

FRAGMENT_ALGORITHMS: Final = ("sha512", "sha384", "md5")
"""Of a digest that takes the place of a SHA-256 in HTML: those that pip and uv know."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.~-]")
_META: Final = {"api-version": API_VERSION}
_OLD_META: Final = {"api-version": OLD_API_VERSION}
_HEAD: Final = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="{API_VERSION}">
"""
_OLD_HEAD: Final = _HEAD.replace(API_VERSION, OLD_API_VERSION)


def list_json(names: Sequence[NormalizedName], serials: Mapping[NormalizedName, int]) -> bytes:
    """
    Return the JSON bytes of the Simple API's list of projects, with their serials for mirrors.

    The serial of the list is the highest of those on it: that of all projects would tell of
    changes to projects that the caller may not read.
    """
    newest = max((serials.get(name, 0) for name in names), default=0)
    meta = {**_META, "_last-serial": newest} if newest else _META
    projects = (
        {"name": name, "_last-serial": serials[name]} if name in serials else {"name": name}
        for name in names
    )
    return json_with_list({"meta": meta}, "projects", projects)


def list_html(names: Sequence[NormalizedName]) -> bytes:
    """Return the HTML bytes of the Simple API's list of projects."""
    links = "".join(f'<a href="{name}/">{name}</a>\n' for name in names)
    page = f"{_HEAD}<title>Simple index</title>\n</head>\n<body>\n{links}</body>\n</html>\n"
    return page.encode()


def detail_json(project: ShownProject[ShownFile], files_url: str = FILES_FROM_DETAIL) -> bytes:
    """Return the JSON of the Simple API's page of a project, whose files are below `files_url`."""
    files, status = served_files(project), project.status
    page: dict[str, object] = {"meta": _META, "name": project.name}
    if not _has_sizes(files):
        page["meta"] = _OLD_META
    if status is not Status.ACTIVE:
        reason = {"reason": project.reason} if project.reason else {}
        page["project-status"] = {"status": status.value, **reason}
    # PEP 700: all versions, also those without files
    page["versions"] = versions(files, project.empty_versions if status.serves_files else ())
    listed = (_file_json(f"{files_url}/{file_url(project.name, file)}", file) for file in files)
    return json_with_list(page, "files", listed)


def detail_html(project: ShownProject[ShownFile], files_url: str = FILES_FROM_DETAIL) -> bytes:
    """Return the HTML of the Simple API's page of a project, whose files are below `files_url`."""
    files, status = served_files(project), ""
    if project.status is not Status.ACTIVE:
        status = f'<meta name="pypi:project-status" content="{project.status.value}">\n'
        if project.reason:
            reason = escape(project.reason)
            status += f'<meta name="pypi:project-status-reason" content="{reason}">\n'
    base_url = escape(files_url)
    links = "".join(
        _file_html(f"{base_url}/{file_url(project.name, file)}", file) for file in files
    )
    head = _HEAD if _has_sizes(files) else _OLD_HEAD
    page = (
        f"{head}{status}<title>Links for {project.name}</title>\n</head>\n"
        f"<body>\n{links}</body>\n</html>\n"
    )
    return page.encode()


def _has_sizes(files: Iterable[ShownFile]) -> bool:
    return None not in (file.size for file in files)


def served_files(project: ShownProject[F]) -> Sequence[F]:
    """Return the files of a project, or none if it is quarantined."""
    return project.files if project.status.serves_files else ()


def versions(files: Iterable[ShownFile], empty: Iterable[str] = ()) -> list[str]:
    """Return the distinct versions of `files`, and `empty` ones, oldest first."""
    return sorted({*(file.version for file in files), *empty}, key=listed_version)


@lru_cache(1024)  # projects have many versions in common, and several pages show each
def listed_version(version: str) -> Version:
    """Return the parsed version of a listed file."""
    return Version(version)


def hidden_files(files: Iterable[tuple[str, FileReason]]) -> list[HiddenFiles]:
    """
    Return versions and reasons of hidden files as lists show them, the newest version first.

    Files of one version with one reason are together.
    """
    rows = [(version, reason.text, reason.code == HIDDEN_BY_VIEW) for version, reason in files]
    rows.sort(key=lambda row: (listed_version(row[0]), row[1]), reverse=True)
    return [
        HiddenFiles(version, len(list(group)), reason, is_by_view)
        for (version, reason, is_by_view), group in groupby(rows)
    ]


def file_url(name: NormalizedName, file: ShownFile) -> str:
    """
    Return the path of a file below the folder of files: `<project>/<sha256>/<filename>`.

    It has no digest if that is not known.
    """
    filename = file.filename
    if _UNSAFE.search(filename):  # cheaper than `quote`, and rare
        filename = quote(filename, safe="")
    return f"{name}/{file.sha256}/{filename}" if file.sha256 else f"{name}/{filename}"


@lru_cache(1024)  # several pages show the time of each file
def timestamp(moment: datetime) -> str:
    """Return a UTC time as text in the format of `upload-time`, with microseconds."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"  # without the offset


def seconds_text(moment: datetime) -> str:
    """Return a UTC time as text, without parts of a second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _file_json(url: str, file: ShownFile) -> dict[str, object]:
    page: dict[str, object] = {
        "filename": file.filename,
        "url": url,
        "hashes": stated_hashes(file),
    }
    if file.requires_python:
        page["requires-python"] = file.requires_python
    # without the old name of the key: pip 22.3 to 23.1.2 crash on an object there (PEP 714)
    page["core-metadata"] = metadata_mark(file)
    page["yanked"] = False if file.yanked is None else file.yanked or True
    if file.size is not None:
        page["size"] = file.size
    if file.uploaded_at is not None:
        page["upload-time"] = timestamp(file.uploaded_at)
    return page


def stated_hashes(file: ShownFile) -> dict[str, str]:
    """Return the known digests of a file, by algorithm, its SHA-256 first."""
    hashes = {"sha256": file.sha256} if file.sha256 else {}
    for text in file.other_hashes:
        algorithm, _, digest = text.partition("=")
        hashes[algorithm] = digest
    return hashes


def _fragment(file: ShownFile) -> str:
    """Return the fragment of a URL in HTML that says one digest, or an empty text."""
    if file.sha256:
        return f"#sha256={file.sha256}"
    hashes = stated_hashes(file)
    algorithm = next((name for name in FRAGMENT_ALGORITHMS if name in hashes), "")
    return f"#{algorithm}={hashes[algorithm]}" if algorithm else ""


def metadata_mark(file: ShownFile) -> dict[str, str] | bool:
    """Return the digest of a file's core metadata, or whether clients can download any."""
    if file.serves_metadata and file.core_metadata:
        return {"sha256": file.core_metadata}
    return file.serves_metadata


def _file_html(url: str, file: ShownFile) -> str:
    attributes = f'href="{url}{_fragment(file)}"'
    if file.requires_python:
        attributes += f' data-requires-python="{escape(file.requires_python)}"'
    if file.serves_metadata:
        digest = f"sha256={file.core_metadata}" if file.core_metadata else "true"
        # the second name is that of PEP 658, which older clients read
        attributes += f' data-core-metadata="{digest}" data-dist-info-metadata="{digest}"'
    if file.yanked is not None:
        attributes += f' data-yanked="{escape(file.yanked)}"'
    if file.size is not None:
        attributes += f' data-size="{file.size}"'
    if file.uploaded_at is not None:
        attributes += f' data-upload-time="{timestamp(file.uploaded_at)}"'
    return f"<a {attributes}>{file.filename}</a>\n"
