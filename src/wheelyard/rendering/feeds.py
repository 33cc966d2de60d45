"""
Atom feeds (RFC 4287): the releases and changes of a project, and the latest of all projects.

An id is made of names and numbers that never change, so a feed reader shows no entry twice, also
when the index moves to another URL. Without a URL of the index in the settings, links are relative
to the feed.
"""

import re
from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from heapq import nlargest
from html import escape
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid5

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.grants import with_name
from wheelyard.model.project import File, Project
from wheelyard.model.project_json import CommitJson, JournalEntry, entry_of
from wheelyard.rendering.project_facts import Release, releases_of, versions_of
from wheelyard.rendering.simple_pages import seconds_text

PROJECT_FEED_ENTRIES: Final = 50
"""Entries of the feed of a project."""
INDEX_FEED_ENTRIES: Final = 50
"""Entries of the feed of all projects."""
FILES_NAMED: Final = 20
"""Files that the text of an entry names."""
VERSIONS_NAMED: Final = 3
"""Versions that the title of an entry names."""

# never change this: the ids of all entries follow from it, and readers would show all of them again
_ID_NAMESPACE: Final = UUID("5f1f6f1c-2f0b-5c3e-9d0e-6f4b8a1f7c55")
_EMPTY_FEED_UPDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The time in an empty feed: RFC 4287 requires that each feed says when it was updated."""
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""
_RELATIVE_ROOT: Final = "../../"
"""The root of the index, relative to the feed of a project."""


class FeedEntry(Struct, frozen=True, kw_only=True):
    """An entry of a feed: a release, or a change of a project."""

    identity: str
    """What the id of the entry is made from: `acme-core/1.0`, `acme-core#12.0`."""
    title: str
    path: str
    """The path of the page that the entry links to, relative to the root of the index."""
    published: datetime
    updated: datetime
    author: str
    """The principal that has uploaded or changed something, with its name if that is known."""
    text: str


def project_feed(
    brand: str, root_url: str, project: Project, changes: Iterable[JournalEntry], index: str = ""
) -> bytes:
    """
    Return the feed of a project, with the newest of its releases and of its other changes.

    `changes` has all events of each commit that it has an event of. Without `root_url`, links are
    relative. `index` is the name of the index, or empty for main; it makes the ids of equal entries
    of several indexes differ. Raises Invalid (code `invalid_filename` or `invalid_version`) if a
    change is about a file that cannot be of the project.
    """
    name = project.name
    releases = releases_of(project)
    versions = {release.version for release in releases}
    entries = [release_entry(name, release) for release in releases]
    entries += _change_entries(name, changes, versions)
    newest = _newest_entries(entries, PROJECT_FEED_ENTRIES)
    root = root_url or _RELATIVE_ROOT
    title = f"{name} · {_feed_title(brand, index)}"
    subtitle = ""
    if project.shown_summary:
        subtitle = f"<subtitle>{_escape_xml(project.shown_summary)}</subtitle>\n"
    return _render_feed(root, f"project/{name}/", title, subtitle, newest, index)


def index_feed(brand: str, root_url: str, entries: Iterable[FeedEntry], index: str = "") -> bytes:
    """
    Return the feed of all projects, with the newest of these entries.

    Without `root_url`, links are relative. `index` is the name of the index, or empty for main; it
    makes the ids of equal entries of several indexes differ.
    """
    title = _feed_title(brand, index)
    newest = _newest_entries(entries, INDEX_FEED_ENTRIES)
    return _render_feed(root_url, "", title, "", newest, index)


def latest_entries(project: Project) -> list[FeedEntry]:
    """
    Return the releases of a project with the newest files, then the changes of its last commit.

    The newest release is the first. There are `INDEX_FEED_ENTRIES` of them at most. Uploads,
    imports and promotions have no entry among the changes.

    Raises Invalid (code `invalid_filename` or `invalid_version`) if a change is about a file that
    cannot be of the project.
    """
    name = project.name
    commit = project.commit
    releases = releases_of(project)
    # the feed of the index has no more entries, even if all of them are of one project
    newest = nlargest(INDEX_FEED_ENTRIES, releases, key=_last_listed_at)
    entries = [release_entry(name, release) for release in newest]
    if commit is None:
        return entries
    events = CommitJson.from_commit(commit).events
    changes = [entry_of(name, project.revision, event, event.by_name) for event in events]
    versions = {release.version for release in releases}
    return entries + _change_entries(name, changes, versions)


def release_entry(name: NormalizedName, release: Release) -> FeedEntry:
    """Return the entry of a release, which says that its newest file has updated the release."""
    files = sorted(release.files, key=_time_and_filename)
    first = files[0]
    last = files[-1]
    text = _filename_lines([file.filename for file in files])
    if release.yanked_reason and release.is_yanked:
        text = f"Yanked: {release.yanked_reason}\n{text}"
    elif release.is_yanked:
        text = f"Yanked.\n{text}"
    return FeedEntry(
        identity=f"{name}/{strip_trailing_zeros(release.version)}",
        title=f"{name} {release.version}",
        path=release_path(name, release.version),
        published=_listed_at(first),
        updated=_listed_at(last),
        author=with_name(first.uploaded_by, first.uploaded_by_name),
        text=text,
    )


def _change_entries(
    name: NormalizedName, changes: Iterable[JournalEntry], versions: set[str]
) -> list[FeedEntry]:
    """Return an entry for each change but uploads; `versions` are those with a page to link to."""
    entries: list[FeedEntry] = []
    event_number = 0
    previous_commit = 0
    for change in changes:
        # the events of a commit are counted from 0, also those that get no entry
        event_number += 1
        if change.commit != previous_commit:
            event_number = 0
        previous_commit = change.commit
        # the entry of a release tells of its uploads
        if change.what not in ("uploaded", "imported", "promoted"):
            entries.append(_change_entry(name, change, event_number, versions))
    return entries


def _change_entry(
    name: NormalizedName,
    change: JournalEntry,
    event_number: int,
    versions_with_page: Container[str],
) -> FeedEntry:
    """
    Return the entry of a change that is no upload, which is event `event_number` of its commit.

    The entry links to the page of the release if the change is about one release alone, whose
    version is among `versions_with_page`. Otherwise the entry links to the page of the project.
    Raises Invalid (code `invalid_filename` or `invalid_version`) if the change is about a file that
    cannot be of the project.
    """
    versions = versions_of(change.files, name)
    path = f"project/{name}/"
    if len(versions) == 1 and versions[0] in versions_with_page:
        path = release_path(name, versions[0])
    lines: list[str] = []
    if change.reason:
        lines.append(f"Reason: {change.reason}")
    if change.files:
        lines.append(_filename_lines(change.files))
    return FeedEntry(
        # never change this: by its id, a reader knows the entries that it has shown
        identity=f"{name}#{change.commit}.{event_number}",
        title=f"{name} {_describe_change(change, versions)}",
        path=path,
        published=change.at,
        updated=change.at,
        author=with_name(change.by, change.by_name),
        text="\n".join(lines),
    )


def _describe_change(change: JournalEntry, versions: Sequence[str]) -> str:
    """Return what was done to these versions of a project, and name at most `VERSIONS_NAMED`."""
    if change.what == "status":
        return f"is {change.status} now"
    verb = f"{change.done} {change.other_index}".rstrip()
    subject = ", ".join(versions[:VERSIONS_NAMED])
    unnamed = len(versions) - VERSIONS_NAMED
    if unnamed > 0:
        subject += f" and {unnamed} more"
    return f"{subject} {verb}".strip()


def release_path(name: NormalizedName, version: str) -> str:
    """Return the path of the page of a release, relative to the root of the index."""
    return f"project/{name}/{quote(version, safe='!')}/"


def _last_listed_at(release: Release) -> datetime:
    """Return when the newest file of a release came into this index."""
    return max(map(_listed_at, release.files))


def _time_and_filename(file: File) -> tuple[datetime, str]:
    """Return the sort key of a file: when it came into this index, and its filename."""
    return _listed_at(file), file.filename


def _listed_at(file: File) -> datetime:
    """Return when a file came into this index, by its promotion or by its upload."""
    return file.promoted_at or file.uploaded_at


def _filename_lines(filenames: Sequence[str]) -> str:
    """Return filenames, one on a line, and name at most `FILES_NAMED`."""
    lines = list(filenames[:FILES_NAMED])
    unnamed = len(filenames) - FILES_NAMED
    if unnamed > 0:
        lines.append(f"and {counted(unnamed, 'more file')}")
    return "\n".join(lines)


def _feed_title(brand: str, index: str) -> str:
    """Return the brand and the name of the index, which is empty for main."""
    return f"{brand} {index}".rstrip()


def _newest_entries(entries: Iterable[FeedEntry], limit: int) -> list[FeedEntry]:
    """Return at most `limit` of the entries, those that were updated last, the newest first."""
    newest_first = sorted(entries, key=_update_and_identity, reverse=True)
    return newest_first[:limit]


def _update_and_identity(entry: FeedEntry) -> tuple[datetime, str]:
    """Return the sort key of an entry; the identity decides between equal times."""
    return entry.updated, entry.identity


def _render_feed(
    root: str, path: str, title: str, subtitle: str, entries: Sequence[FeedEntry], index: str
) -> bytes:
    """
    Return the XML of a feed in the folder `path`, which is relative to the root of the index.

    `subtitle` is an XML element or empty. `entries` begin with the newest.
    """
    folder = f"{root}{path}"
    updated = _EMPTY_FEED_UPDATED
    if entries:
        updated = entries[0].updated
    rendered_entries = "".join(_render_entry(root, entry, index) for entry in entries)
    feed = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f"<id>{_urn(path, index)}</id>\n<title>{_escape_xml(title)}</title>\n{subtitle}"
        f"<updated>{seconds_text(updated)}</updated>\n"
        f'<link rel="self" type="application/atom+xml" href="{_escape_xml(folder)}feed.xml"/>\n'
        f'<link rel="alternate" type="text/html" href="{_escape_xml(folder or "./")}"/>\n'
        f"{rendered_entries}</feed>\n"
    )
    return feed.encode()


def _render_entry(root: str, entry: FeedEntry, index: str) -> str:
    """Return the XML of an entry in a feed of the index at `root`."""
    # RFC 4287: an entry has an author, and the author a name
    author = entry.author.strip() or "unknown"
    page_url = f"{root}{entry.path}"
    return (
        f"<entry>\n<id>{_urn(entry.identity, index)}</id>\n"
        f"<title>{_escape_xml(entry.title)}</title>\n"
        f'<link rel="alternate" type="text/html" href="{_escape_xml(page_url)}"/>\n'
        f"<published>{seconds_text(entry.published)}</published>\n"
        f"<updated>{seconds_text(entry.updated)}</updated>\n"
        f"<author><name>{_escape_xml(author)}</name></author>\n"
        f'<content type="text">{_escape_xml(entry.text)}</content>\n</entry>\n'
    )


def _urn(identity: str, index: str) -> str:
    """Return the id of a feed or an entry, which does not depend on the URL of the server."""
    # the name of main is empty here, and leaves a blank before the identity
    return f"urn:uuid:{uuid5(_ID_NAMESPACE, f'{index} {identity}'.lstrip())}"


def _escape_xml(text: str) -> str:
    """Return `text` escaped for XML, with U+FFFD for characters that XML cannot hold."""
    return escape(_NOT_XML.sub("�", text))
