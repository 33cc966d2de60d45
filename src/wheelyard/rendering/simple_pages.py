"""
Pages of the Simple API as JSON and HTML: the project list, and the files of a project.

Pages follow version 1.4 of the API (PEPs 503, 592, 629, 658, 691, 700, 714, 740, 792), and JSON in
an index with namespaces version 1.5 (PEP 752). A page of a project whose upstream index does not
say the size of each file follows version 1.0, as PEP 700 requires sizes. By default, links are
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

ENTRIES_AT_ONCE: Final = 500
"""
Entries of a list that are encoded in one call, which takes a millisecond.

No other thread of Python runs during the call.
"""

API_VERSION: Final = "1.4"
NAMESPACES_API_VERSION: Final = "1.5"
"""The version of JSON in an index that has namespaces. HTML stays as it is (PEP 833)."""
OLD_API_VERSION: Final = "1.0"
"""The version of a page that lacks the size of a file."""
FILES_FROM_DETAIL: Final = "../../files"
"""The URL of the folder of files, relative to a project's page."""
FRAGMENT_ALGORITHMS: Final = ("sha512", "sha384", "md5")
"""Algorithms that pip and uv know, the best first: HTML has one of them without a SHA-256."""
_LENGTH_WITHOUT_OFFSET: Final = len("2026-01-31T23:59:59.123456")
"""Characters of a time in ISO 8601 before its offset, which is +00:00."""
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
    """
    Return the JSON of a document that gets a list as its last member.

    `name` is the key of the list. The document has other members. Other threads may run while a
    long list is encoded.
    """
    encoder = Encoder()
    remaining_items = iter(items)
    opening = encoder.encode(document).removesuffix(b"}")
    encoded_pieces: list[bytes] = []
    while piece := list(islice(remaining_items, ENTRIES_AT_ONCE)):
        brackets_and_entries = encoder.encode(piece)
        encoded_pieces.append(brackets_and_entries[1:-1])
    encoded_items = b",".join(encoded_pieces)
    return b'%b,"%b":[%b]}' % (opening, name.encode(), encoded_items)


def list_json(
    names: Sequence[NormalizedName],
    serials: Mapping[NormalizedName, int],
    *,
    has_namespaces: bool = False,
) -> bytes:
    """
    Return the JSON bytes of the Simple API's list of projects, with their serials for mirrors.

    The serial of the list is the highest serial of the listed projects: the highest of all projects
    would tell of changes to projects that the caller may not read.
    """
    last_serial = max((serials.get(name, 0) for name in names), default=0)
    meta: dict[str, object] = {"api-version": API_VERSION}
    if has_namespaces:
        meta["api-version"] = NAMESPACES_API_VERSION
    if last_serial:
        meta["_last-serial"] = last_serial
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

    The provenance of files is below `provenance_root`, and the page names no provenance if that is
    empty. `namespaces` are the namespaces of the project, or None if the index has no namespaces.
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
    page["versions"] = distinct_versions(files, status.served(project.empty_versions))
    # a generator, so that not all entries of a large project are in memory at once
    file_entries = (_file_json(files_url, provenance_root, project.name, file) for file in files)
    return json_with_list(page, "files", file_entries)


def detail_html(
    project: ShownProject[ShownFile],
    files_url: str = FILES_FROM_DETAIL,
    provenance_root: str = "",
) -> bytes:
    """
    Return the HTML of the Simple API's page of a project, whose files are below `files_url`.

    The provenance of files is below `provenance_root`, and the page names no provenance if that is
    empty.
    """
    files = project.status.served(project.files)
    status_tags = ""
    if project.status is not Status.ACTIVE:
        status_tags = f'<meta name="pypi:project-status" content="{project.status.value}">\n'
        if project.reason:
            reason = escape(project.reason)
            status_tags += f'<meta name="pypi:project-status-reason" content="{reason}">\n'
    escaped_files_url = escape(files_url)
    escaped_root = escape(provenance_root)
    links = "".join(
        _file_html(escaped_files_url, escaped_root, project.name, file) for file in files
    )
    head = _HEAD if _has_sizes(files) else _OLD_HEAD
    page = (
        f"{head}{status_tags}<title>Links for {project.name}</title>\n</head>\n"
        f"<body>\n{links}</body>\n</html>\n"
    )
    return page.encode()


def _has_sizes(files: Iterable[ShownFile]) -> bool:
    """Return whether the size of every file is known."""
    return all(file.size is not None for file in files)


def distinct_versions(files: Iterable[ShownFile], empty_versions: Iterable[str]) -> list[str]:
    """Return the versions of `files` and the `empty_versions`, each once, the oldest first."""
    file_versions = {file.version for file in files}
    return sorted(file_versions.union(empty_versions), key=listed_version)


@lru_cache(1024)  # several pages show the time of each file
def timestamp(moment: datetime) -> str:
    """Return a UTC time as text in the format of `upload-time`, with microseconds."""
    return moment.isoformat(timespec="microseconds")[:_LENGTH_WITHOUT_OFFSET] + "Z"


def seconds_text(moment: datetime) -> str:
    """Return a UTC time as text, in whole seconds."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def provenance_url(root: str, project: NormalizedName, file: ShownFile) -> str:
    """Return the URL of the provenance of a file (PEP 740), below `root`."""
    return f"{root}/{project}/{quote(file.version)}/{quote(file.filename)}/provenance"


def _file_json(
    files_url: str, provenance_root: str, project: NormalizedName, file: ShownFile
) -> dict[str, object]:
    """Return the entry of a file, with the keys that PEPs 691, 700 and 740 name."""
    path = file_url(project, file.sha256, file.filename)
    entry: dict[str, object] = {
        "filename": file.filename,
        "url": f"{files_url}/{path}",
        "hashes": stated_hashes(file),
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python

    # without the old name of the key: pip 22.3 to 23.1.2 crash on an object there (PEP 714)
    entry["core-metadata"] = metadata_mark(file)
    entry["yanked"] = False
    if file.yanked is not None:
        # PEP 691: the reason, or true for a yank without a reason
        entry["yanked"] = file.yanked or True
    if file.size is not None:
        entry["size"] = file.size
    if file.uploaded_at is not None:
        entry["upload-time"] = timestamp(file.uploaded_at)
    if provenance_root and file.has_provenance:
        entry["provenance"] = provenance_url(provenance_root, project, file)
    return entry


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
    """
    Return the fragment that says the digest of a file, for the URL of the file in HTML.

    Empty if no digest is known by an algorithm of `FRAGMENT_ALGORITHMS`.
    """
    if file.sha256:
        return f"#sha256={file.sha256}"
    hashes = stated_hashes(file)
    for algorithm in FRAGMENT_ALGORITHMS:
        if algorithm in hashes:
            # PEP 503: a URL has the digest of one algorithm
            return f"#{algorithm}={hashes[algorithm]}"
    return ""


def metadata_mark(file: ShownFile) -> dict[str, str] | bool:
    """
    Return the value of `core-metadata` of a file (PEP 714).

    The digest of the core metadata if that is known, else whether clients can download them.
    """
    if file.serves_metadata and file.core_metadata:
        return {"sha256": file.core_metadata}
    return file.serves_metadata


def _file_html(
    files_url: str, provenance_root: str, project: NormalizedName, file: ShownFile
) -> str:
    """Return the link to a file. `files_url` and `provenance_root` are escaped for HTML already."""
    path = file_url(project, file.sha256, file.filename)
    url = f"{files_url}/{path}"
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
        attributes += f' data-provenance="{provenance_url(provenance_root, project, file)}"'
    return f"<a {attributes}>{file.filename}</a>\n"
