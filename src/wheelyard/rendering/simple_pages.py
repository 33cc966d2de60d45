"""
Pages of the Simple API as JSON and HTML: the project list, and the files of a project.

Version 1.4 of the API (PEPs 503, 592, 629, 658, 691, 700, 714, 740, 792), and 1.5 of its JSON where
there are namespaces (PEP 752). 1.0 for a project of an upstream index that does not say the size of
each file, as PEP 700 requires. By default, links are
relative, so a page has the same bytes on a server, in a static export, under a path prefix and
behind any host name.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from html import escape
from itertools import islice
from typing import Final
from urllib.parse import quote

from msgspec.json import Encoder
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import file_url, listed_version
from wheelyard.model.project import Status
from wheelyard.model.stored_namespaces import ProjectNamespace
from wheelyard.rendering.listing import ShownFile, ShownProject

PIECE: Final = 500
"""Items that are encoded at a time, in a millisecond: no other thread of Python runs meanwhile."""

API_VERSION: Final = "1.4"
NAMESPACES_API_VERSION: Final = "1.5"
"""Of JSON in an index that has namespaces. HTML stays as it is (PEP 833)."""
OLD_API_VERSION: Final = "1.0"
"""Of a page that lacks the size of a file."""
FILES_FROM_DETAIL: Final = "../../files"
"""The URL of the folder of files, relative to a project's page."""
FRAGMENT_ALGORITHMS: Final = ("sha512", "sha384", "md5")
"""Of a digest that takes the place of a SHA-256 in HTML: those that pip and uv know."""
_META: Final = {"api-version": API_VERSION}
_OLD_META: Final = {"api-version": OLD_API_VERSION}
_HEAD: Final = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="{API_VERSION}">
"""
_OLD_HEAD: Final = _HEAD.replace(API_VERSION, OLD_API_VERSION)


def json_with_list(document: Mapping[str, object], name: str, items: Iterable[object]) -> bytes:
    """Return the JSON of a document, which is not empty, with a list as its last member."""
    encoder = Encoder()
    remaining = iter(items)
    opening = encoder.encode(document).removesuffix(b"}")
    pieces: list[bytes] = []
    while piece := list(islice(remaining, PIECE)):
        # without its brackets; another thread may run before the next piece
        pieces.append(encoder.encode(piece)[1:-1])
    return b'%b,"%b":[%b]}' % (opening, name.encode(), b",".join(pieces))


def list_json(
    names: Sequence[NormalizedName],
    serials: Mapping[NormalizedName, int],
    *,
    has_namespaces: bool = False,
) -> bytes:
    """
    Return the JSON bytes of the Simple API's list of projects, with their serials for mirrors.

    The serial of the list is the highest of those on it: that of all projects would tell of
    changes to projects that the caller may not read.
    """
    newest = max((serials.get(name, 0) for name in names), default=0)
    meta: dict[str, object] = {"api-version": API_VERSION}
    if has_namespaces:
        meta["api-version"] = NAMESPACES_API_VERSION
    if newest:
        meta["_last-serial"] = newest
    return json_with_list({"meta": meta}, "projects", _project_entries(names, serials))


def _project_entries(
    names: Iterable[NormalizedName], serials: Mapping[NormalizedName, int]
) -> Iterator[dict[str, object]]:
    """Yield the entry of each project in the list, with its serial if it has one."""
    for name in names:
        entry: dict[str, object] = {"name": name}
        if name in serials:
            entry["_last-serial"] = serials[name]
        yield entry


def list_html(names: Sequence[NormalizedName]) -> bytes:
    """Return the HTML bytes of the Simple API's list of projects."""
    links = "".join(f'<a href="{name}/">{name}</a>\n' for name in names)
    page = f"{_HEAD}<title>Simple index</title>\n</head>\n<body>\n{links}</body>\n</html>\n"
    return page.encode()


def detail_json(
    project: ShownProject[ShownFile],
    files_url: str = FILES_FROM_DETAIL,
    provenance_root: str = "",
    namespaces: Sequence[ProjectNamespace] | None = None,
) -> bytes:
    """
    Return the JSON of the Simple API's page of a project, whose files are below `files_url`.

    Their provenance is below `provenance_root`, or not named if that is empty. `namespaces` are
    those of the project, or None in an index without any.
    """
    status = project.status
    files = status.served(project.files)
    page: dict[str, object] = {"meta": _META, "name": project.name}
    if not _has_sizes(files):
        # PEP 700: from version 1.1 on, each file has its size
        page["meta"] = _OLD_META
    elif namespaces is not None:
        page["meta"] = {"api-version": NAMESPACES_API_VERSION}
        page["namespaces"] = list(namespaces) or None
    if status is not Status.ACTIVE:
        status_entry = {"status": status.value}
        if project.reason:
            status_entry["reason"] = project.reason
        page["project-status"] = status_entry
    # PEP 700: all versions, also those without files
    page["versions"] = versions(files, status.served(project.empty_versions))
    listed = (_file_json(files_url, provenance_root, project.name, file) for file in files)
    return json_with_list(page, "files", listed)


def detail_html(
    project: ShownProject[ShownFile],
    files_url: str = FILES_FROM_DETAIL,
    provenance_root: str = "",
) -> bytes:
    """
    Return the HTML of the Simple API's page of a project, whose files are below `files_url`.

    Their provenance is below `provenance_root`, or not named if that is empty.
    """
    files = project.status.served(project.files)
    status = ""
    if project.status is not Status.ACTIVE:
        status = f'<meta name="pypi:project-status" content="{project.status.value}">\n'
        if project.reason:
            reason = escape(project.reason)
            status += f'<meta name="pypi:project-status-reason" content="{reason}">\n'
    base_url = escape(files_url)
    root = escape(provenance_root)
    links = "".join(_file_html(base_url, root, project.name, file) for file in files)
    head = _HEAD if _has_sizes(files) else _OLD_HEAD
    page = (
        f"{head}{status}<title>Links for {project.name}</title>\n</head>\n"
        f"<body>\n{links}</body>\n</html>\n"
    )
    return page.encode()


def _has_sizes(files: Iterable[ShownFile]) -> bool:
    return all(file.size is not None for file in files)


def versions(files: Iterable[ShownFile], empty: Iterable[str] = ()) -> list[str]:
    """Return the distinct versions of `files`, and `empty` ones, oldest first."""
    texts = {file.version for file in files}
    return sorted(texts.union(empty), key=listed_version)


@lru_cache(1024)  # several pages show the time of each file
def timestamp(moment: datetime) -> str:
    """Return a UTC time as text in the format of `upload-time`, with microseconds."""
    # 26 characters are the time without its offset, which is +00:00
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def seconds_text(moment: datetime) -> str:
    """Return a UTC time as text, without parts of a second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def provenance_url(root: str, project: NormalizedName, file: ShownFile) -> str:
    """Return the URL of the provenance of a file (PEP 740), below `root`."""
    return f"{root}/{project}/{quote(file.version)}/{quote(file.filename)}/provenance"


def _file_json(
    files_url: str, provenance_root: str, project: NormalizedName, file: ShownFile
) -> dict[str, object]:
    """Return the entry of a file, with the keys that PEPs 691, 700 and 740 name."""
    page: dict[str, object] = {
        "filename": file.filename,
        "url": f"{files_url}/{file_url(project, file.sha256, file.filename)}",
        "hashes": stated_hashes(file),
    }
    if file.requires_python:
        page["requires-python"] = file.requires_python

    # without the old name of the key: pip 22.3 to 23.1.2 crash on an object there (PEP 714)
    page["core-metadata"] = metadata_mark(file)
    page["yanked"] = False
    if file.yanked is not None:
        # PEP 691: the reason, or true where there is none
        page["yanked"] = file.yanked or True
    if file.size is not None:
        page["size"] = file.size
    if file.uploaded_at is not None:
        page["upload-time"] = timestamp(file.uploaded_at)
    if provenance_root and file.has_provenance:
        page["provenance"] = provenance_url(provenance_root, project, file)
    return page


def stated_hashes(file: ShownFile) -> dict[str, str]:
    """Return the known digests of a file, by algorithm, its SHA-256 first."""
    hashes: dict[str, str] = {}
    if file.sha256:
        hashes["sha256"] = file.sha256
    for text in file.other_hashes:
        algorithm, _, digest = text.partition("=")
        hashes[algorithm] = digest
    return hashes


def _fragment(file: ShownFile) -> str:
    """Return the fragment of a URL in HTML that says one digest, or an empty text."""
    if file.sha256:
        return f"#sha256={file.sha256}"
    hashes = stated_hashes(file)
    for algorithm in FRAGMENT_ALGORITHMS:
        if algorithm in hashes:
            # PEP 503: a URL has the digest of one algorithm
            return f"#{algorithm}={hashes[algorithm]}"
    return ""


def metadata_mark(file: ShownFile) -> dict[str, str] | bool:
    """Return the digest of a file's core metadata, or whether clients can download any."""
    if file.serves_metadata and file.core_metadata:
        return {"sha256": file.core_metadata}
    return file.serves_metadata


def _file_html(
    files_url: str, provenance_root: str, project: NormalizedName, file: ShownFile
) -> str:
    """Return the link to a file. Both of the URLs are escaped already, once for all files."""
    url = f"{files_url}/{file_url(project, file.sha256, file.filename)}"
    attributes = f'href="{url}{_fragment(file)}"'
    if file.requires_python:
        attributes += f' data-requires-python="{escape(file.requires_python)}"'
    if file.serves_metadata:
        digest = "true"
        if file.core_metadata:
            digest = f"sha256={file.core_metadata}"
        # the second name is that of PEP 658, which older clients read
        attributes += f' data-core-metadata="{digest}" data-dist-info-metadata="{digest}"'
    if file.yanked is not None:
        attributes += f' data-yanked="{escape(file.yanked)}"'
    if file.size is not None:
        attributes += f' data-size="{file.size}"'
    if file.uploaded_at is not None:
        attributes += f' data-upload-time="{timestamp(file.uploaded_at)}"'
    if provenance_root and file.has_provenance:
        url = provenance_url(provenance_root, project, file)
        attributes += f' data-provenance="{url}"'
    return f"<a {attributes}>{file.filename}</a>\n"
