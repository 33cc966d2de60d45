"""
Pages of the Simple API as JSON and HTML: the project list, and the files of a project.

Version 1.4 of the API (PEPs 503, 592, 629, 658, 691, 700, 714, 792). By default, links are
relative, so a page has the same bytes on a server, in a static export, under a path prefix and
behind any host name.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from html import escape
from typing import Final
from urllib.parse import quote

from msgspec.json import Encoder
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.model.project import File, Project, Status

API_VERSION: Final = "1.4"
FILES_FROM_DETAIL: Final = "../../files"
"""The URL of the folder of files, relative to a project's page."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.~-]")
_META: Final = {"api-version": API_VERSION}
_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="1.4">
"""


def list_json(names: Sequence[NormalizedName]) -> bytes:
    """Return the JSON bytes of the Simple API's list of projects."""
    return Encoder().encode({"meta": _META, "projects": [{"name": name} for name in names]})


def list_html(names: Sequence[NormalizedName]) -> bytes:
    """Return the HTML bytes of the Simple API's list of projects."""
    links = "".join(f'<a href="{name}/">{name}</a>\n' for name in names)
    page = f"{_HEAD}<title>Simple index</title>\n</head>\n<body>\n{links}</body>\n</html>\n"
    return page.encode()


def detail_json(project: Project, files_url: str = FILES_FROM_DETAIL) -> bytes:
    """Return the JSON bytes of the Simple API's page of a project; files are below `files_url`."""
    page: dict[str, object] = {"meta": _META, "name": project.name}
    if project.status is not Status.ACTIVE:
        reason = {"reason": project.reason} if project.reason else {}
        page["project-status"] = {"status": project.status.value, **reason}
    files = served_files(project)
    page["versions"] = versions(files)
    page["files"] = [
        _file_json(f"{files_url}/{file_url(project.name, file)}", file) for file in files
    ]
    return Encoder().encode(page)


def detail_html(project: Project, files_url: str = FILES_FROM_DETAIL) -> bytes:
    """Return the HTML bytes of the Simple API's page of a project; files are below `files_url`."""
    status = ""
    if project.status is not Status.ACTIVE:
        status = f'<meta name="pypi:project-status" content="{project.status.value}">\n'
        if project.reason:
            reason = escape(project.reason)
            status += f'<meta name="pypi:project-status-reason" content="{reason}">\n'
    base_url = escape(files_url)
    links = "".join(
        _file_html(f"{base_url}/{file_url(project.name, file)}", file)
        for file in served_files(project)
    )
    page = (
        f"{_HEAD}{status}<title>Links for {project.name}</title>\n</head>\n"
        f"<body>\n{links}</body>\n</html>\n"
    )
    return page.encode()


def served_files(project: Project) -> tuple[File, ...]:
    """Return the files of a project, or none if it is quarantined."""
    return project.files if project.status.serves_files else ()


def versions(files: Iterable[File]) -> list[str]:
    """Return the distinct versions of `files`, oldest first."""
    return sorted({file.version for file in files}, key=listed_version)


@lru_cache(1024)  # projects have many versions in common, and several pages show each
def listed_version(version: str) -> Version:
    """Return the parsed version of a listed file."""
    return Version(version)


def file_url(name: NormalizedName, file: File) -> str:
    """Return `<project>/<sha256>/<filename>`, a path below the folder of files, percent-encoded."""
    filename = file.filename
    if _UNSAFE.search(filename):  # cheaper than `quote`, and rare
        filename = quote(filename, safe="")
    return f"{name}/{file.sha256}/{filename}"


@lru_cache(1024)  # several pages show the time of each file
def timestamp(moment: datetime) -> str:
    """Return a UTC time as text in the format of `upload-time`, with microseconds."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"  # without the offset


def _file_json(url: str, file: File) -> dict[str, object]:
    page: dict[str, object] = {
        "filename": file.filename,
        "url": url,
        "hashes": {"sha256": file.sha256},
    }
    if file.requires_python:
        page["requires-python"] = file.requires_python
    # without the old name of the key: pip 22.3 to 23.1.2 crash on an object there (PEP 714)
    page["core-metadata"] = {"sha256": file.core_metadata} if file.serves_metadata else False
    page["yanked"] = False if file.yanked is None else file.yanked or True
    page["size"] = file.size
    page["upload-time"] = timestamp(file.uploaded_at)
    return page


def _file_html(url: str, file: File) -> str:
    attributes = f'href="{url}#sha256={file.sha256}"'
    if file.requires_python:
        attributes += f' data-requires-python="{escape(file.requires_python)}"'
    if file.serves_metadata:
        digest = f"sha256={file.core_metadata}"
        attributes += f' data-core-metadata="{digest}" data-dist-info-metadata="{digest}"'
    if file.yanked is not None:
        attributes += f' data-yanked="{escape(file.yanked)}"'
    attributes += f' data-size="{file.size}" data-upload-time="{timestamp(file.uploaded_at)}"'
    return f"<a {attributes}>{file.filename}</a>\n"
