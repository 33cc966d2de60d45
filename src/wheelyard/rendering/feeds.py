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
INDEX_FEED_ENTRIES: Final = 50
FILES_TOLD: Final = 20
VERSIONS_TOLD: Final = 3

# never another one: the ids of all entries follow from it, by which readers know what they showed
_IDS: Final = UUID("5f1f6f1c-2f0b-5c3e-9d0e-6f4b8a1f7c55")
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When an empty feed was updated, which has to say so."""
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""
_RELATIVE_ROOT: Final = "../../"
"""The root of the index, relative to the feed of a project."""


class FeedEntry(Struct, frozen=True, kw_only=True):
    """An entry of a feed: a release, or a change of a project."""

    identity: str
    """What makes its id: `acme-core/1.0`, `acme-core#12.0`."""
    title: str
    path: str
    """The page that it links to, relative to the root of the index."""
    published: datetime
    updated: datetime
    by: str
    text: str


def project_feed(
    brand: str, root_url: str, project: Project, changes: Iterable[JournalEntry], index: str = ""
) -> bytes:
    """
    Return the feed of a project, with the newest of its releases and of its other changes.

    `changes` are those of whole commits. Without `root_url`, links are relative. `index` is the
    name of the index, or empty for main, so that readers take equal entries of several indexes for
    different ones. Raises Invalid (code `invalid_filename` or `invalid_version`) if a change is of
    a file that cannot be of the project.
    """
    name = project.name
    releases = releases_of(project)
    versions = {release.version for release in releases}
    entries = [release_entry(name, release) for release in releases]
    entries += _change_entries(name, changes, versions)
    newest = _newest(entries, PROJECT_FEED_ENTRIES)
    root = root_url or _RELATIVE_ROOT
    title = f"{name} · {_title(brand, index)}"
    subtitle = ""
    if project.shown_summary:
        subtitle = f"<subtitle>{_text(project.shown_summary)}</subtitle>\n"
    return _feed(root, f"project/{name}/", title, subtitle, newest, index)


def index_feed(brand: str, root_url: str, entries: Iterable[FeedEntry], index: str = "") -> bytes:
    """
    Return the feed of all projects, with the newest of these entries.

    Without `root_url`, links are relative. `index` is the name of the index, or empty for main, so
    that readers take equal entries of several indexes for different ones.
    """
    title = _title(brand, index)
    newest = _newest(entries, INDEX_FEED_ENTRIES)
    return _feed(root_url, "", title, "", newest, index)


def _title(brand: str, index: str) -> str:
    return f"{brand} {index}".rstrip()


def latest_entries(project: Project) -> list[FeedEntry]:
    """
    Return the newest releases of a project, and the changes of its last commit.

    Raises Invalid (code `invalid_filename` or `invalid_version`) if a change is of a file that
    cannot be of the project.
    """
    name = project.name
    commit = project.commit
    releases = releases_of(project)
    # a feed of the index has no more entries than these, even if all are of one project
    newest = nlargest(INDEX_FEED_ENTRIES, releases, key=_uploaded_at)
    entries = [release_entry(name, release) for release in newest]
    if commit is None:
        return entries
    events = CommitJson.from_commit(commit).events
    changes = [entry_of(name, project.revision, event, event.by_name) for event in events]
    versions = {release.version for release in releases}
    return entries + _change_entries(name, changes, versions)


def release_entry(name: NormalizedName, release: Release) -> FeedEntry:
    """Return the entry of a release, which a file that is added later updates."""
    files = sorted(release.files, key=lambda file: (_listed_at(file), file.filename))
    first = files[0]
    last = files[-1]  # a reader shows the entry again when a later file comes
    text = _named([file.filename for file in files])
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
        by=with_name(first.uploaded_by, first.uploaded_by_name),
        text=text,
    )


def _change_entries(
    name: NormalizedName, changes: Iterable[JournalEntry], versions: set[str]
) -> list[FeedEntry]:
    """Return the entries of changes, which link to the pages of the releases `versions`."""
    entries: list[FeedEntry] = []
    number = 0
    commit = 0
    for change in changes:
        # the events of a commit are counted from 0, also those that get no entry
        number += 1
        if change.commit != commit:
            number = 0
        commit = change.commit
        # the entry of a release tells of its uploads
        if change.what not in ("uploaded", "imported", "promoted"):
            entries.append(change_entry(name, change, number, versions))
    return entries


def change_entry(
    name: NormalizedName, change: JournalEntry, number: int, with_pages: Container[str] = ()
) -> FeedEntry:
    """
    Return the entry of a change that is no upload, event `number` of its commit.

    The entry links to the page of the release if the change is about one release alone, whose
    version is among `with_pages`. Otherwise it links to the page of the project. Raises Invalid
    (code `invalid_filename` or `invalid_version`) if the change is about a file that cannot be of
    the project.
    """
    versions = versions_of(change.files, name)
    path = f"project/{name}/"
    if len(versions) == 1 and versions[0] in with_pages:
        path = release_path(name, versions[0])
    lines: list[str] = []
    if change.reason:
        lines.append(f"Reason: {change.reason}")
    if change.files:
        lines.append(_named(change.files))
    return FeedEntry(
        identity=f"{name}#{change.commit}.{number}",  # never another one: readers go by it
        title=f"{name} {_in_words(change, versions)}",
        path=path,
        published=change.at,
        updated=change.at,
        by=with_name(change.by, change.by_name),
        text="\n".join(lines),
    )


def _in_words(change: JournalEntry, versions: Sequence[str]) -> str:
    """Return what was done to some versions of a project, of many only the first ones."""
    if change.what == "status":
        return f"is {change.status} now"
    verb = f"{change.done} {change.other_index}".rstrip()
    subject = ", ".join(versions[:VERSIONS_TOLD])
    if len(versions) > VERSIONS_TOLD:
        subject += f" and {len(versions) - VERSIONS_TOLD} more"
    return f"{subject} {verb}".strip()


def release_path(name: NormalizedName, version: str) -> str:
    """Return the path of the page of a release, relative to the root of the index."""
    return f"project/{name}/{quote(version, safe='!')}/"


def _uploaded_at(release: Release) -> datetime:
    return max(map(_listed_at, release.files))


def _listed_at(file: File) -> datetime:
    # a file that was promoted is news in this index from then on
    return file.promoted_at or file.uploaded_at


def _named(filenames: Sequence[str]) -> str:
    """Return the names of files, one on a line, of many only the first ones."""
    lines = list(filenames[:FILES_TOLD])
    if len(filenames) > FILES_TOLD:
        lines.append(f"and {counted(len(filenames) - FILES_TOLD, 'more file')}")
    return "\n".join(lines)


def _newest(entries: Iterable[FeedEntry], limit: int) -> list[FeedEntry]:
    # with the identity, so that equal times give the same bytes each time
    entries = sorted(entries, key=lambda entry: (entry.updated, entry.identity), reverse=True)
    return entries[:limit]


def _feed(
    root: str, path: str, title: str, subtitle: str, entries: Sequence[FeedEntry], index: str
) -> bytes:
    """Return a feed in the folder `path`, which is relative to the root of the index."""
    folder = f"{root}{path}"
    updated = entries[0].updated if entries else _BEGINNING  # the newest is the first
    feed = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f"<id>{_id(path, index)}</id>\n<title>{_text(title)}</title>\n{subtitle}"
        f"<updated>{seconds_text(updated)}</updated>\n"
        f'<link rel="self" type="application/atom+xml" href="{_text(folder)}feed.xml"/>\n'
        f'<link rel="alternate" type="text/html" href="{_text(folder or "./")}"/>\n'
        f"{''.join(_entry(root, entry, index) for entry in entries)}</feed>\n"
    )
    return feed.encode()


def _entry(root: str, entry: FeedEntry, index: str) -> str:
    # RFC 4287: an entry has an author, and the author a name
    author = entry.by.strip() or "unknown"
    return (
        f"<entry>\n<id>{_id(entry.identity, index)}</id>\n<title>{_text(entry.title)}</title>\n"
        f'<link rel="alternate" type="text/html" href="{_text(f"{root}{entry.path}")}"/>\n'
        f"<published>{seconds_text(entry.published)}</published>\n"
        f"<updated>{seconds_text(entry.updated)}</updated>\n"
        f"<author><name>{_text(author)}</name></author>\n"
        f'<content type="text">{_text(entry.text)}</content>\n</entry>\n'
    )


def _id(identity: str, index: str) -> str:
    """Return the id of a feed or an entry, which is the same on each server."""
    # main has no name here, so that nothing stands before the identity
    return f"urn:uuid:{uuid5(_IDS, f'{index} {identity}'.lstrip())}"


def _text(text: str) -> str:
    """Return `text` escaped for XML, with U+FFFD for characters that XML cannot hold."""
    return escape(_NOT_XML.sub("�", text))
