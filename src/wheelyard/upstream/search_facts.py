"""
The public projects that the search finds, and the facts about them.

A public project is found if its page is stored, and the page was asked for lately, a file of the
project is kept, or somebody has approved it. A name without a page may be private, or nobody's.
Everything comes from the store: no upstream index is asked, and nothing is counted.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from math import inf
from typing import Final, NamedTuple
from zlib import crc32

from msgspec import Struct, field
from msgspec.json import encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.model.public_packages import ProjectDecisions
from wheelyard.operations.search.project_table import MAX_CONCURRENT_READS, described_in
from wheelyard.operations.search.search_index import REMOTE_SECONDS
from wheelyard.rendering import project_facts
from wheelyard.rendering.project_facts import (
    NOT_DESCRIBED,
    ProjectFacts,
    latest_release,
    releases_of,
)
from wheelyard.storage.base import Entry, Store
from wheelyard.upstream.indexes import UpstreamIndex, UpstreamListing
from wheelyard.upstream.merged_listing import merged_listing
from wheelyard.upstream.sidecars import core_metadata_of

PAGES_A_MINUTE: Final = 10_000
"""How many objects of a bucket are listed in a minute on average: ten requests, 0.00005 USD."""
LATELY: Final = timedelta(days=30)
"""How long a project is listed after its page was asked for, if none of its files is kept."""
DAY_SECONDS: Final = 86_400
"""After so long, facts are read again, and kept files listed, as rules and time change them."""

Pages = Mapping[NormalizedName, Entry]
"""The objects of stored pages, or of stored owners, by the name of the project."""


class _Look(NamedTuple):
    """The state of a project when it was looked at."""

    looked_at: float
    """When the project was looked at, in seconds since the epoch."""
    metadata_kept: int
    """How many of its files had their core metadata stored by this process."""


class PublicProjectList(Struct):
    """
    Lists the public projects, and reads their facts.

    One thread at a time may use it. `versions` and `read` raise Unavailable if the store does not
    answer.
    """

    upstream: UpstreamIndex
    _pages: dict[str, Pages] = field(default_factory=dict)
    """The stored pages of each upstream index, by its id."""
    _owners: Pages = field(default_factory=dict)
    """The stored owners of names, if there are several upstream indexes."""
    _list_again_at: float = -inf
    """When the stored pages are listed again, by the monotonic clock."""
    _projects_with_files: frozenset[NormalizedName] = frozenset()
    """Projects of which a file is kept. They are only listed if there are old pages."""
    _files_listed_at: float = -inf
    """When the kept files were listed, by the monotonic clock."""
    _left_out: dict[NormalizedName, str] = field(default_factory=dict)
    """Projects of which nothing is shown, by their version, so that they are not read each time."""
    _undescribed: dict[NormalizedName, _Look] = field(default_factory=dict)
    """The first look at projects without a summary, whose core metadata may be stored later."""

    def may_show(self, name: NormalizedName) -> bool:
        """
        Return whether settings and namespaces allow that a name is public.

        Raises Unavailable if the namespaces cannot be read.
        """
        upstream = self.upstream
        return upstream.policy.accepts(name) and not upstream.names.is_reserved(name)

    def versions(self) -> dict[NormalizedName, str]:
        """
        Return a text for each project that changes when its facts may change.

        Projects of which nothing is shown are left out.
        """
        self._list()
        versions = dict[NormalizedName, str]()
        for name, decisions in self.upstream.policy.accepted(self._used_names()):
            if self.upstream.names.is_reserved(name):
                continue
            objects = self._objects(name)
            if objects:
                versions[name] = self._version(name, objects, decisions)
        # with another version, the facts of a project that was left out are read again
        self._left_out = dict(self._left_out.items() & versions.items())
        names_without_page = self._undescribed.keys() - versions.keys()
        for name in names_without_page:
            del self._undescribed[name]
        return {name: version for name, version in versions.items() if name not in self._left_out}

    def read(
        self, versions: Collection[tuple[NormalizedName, str]]
    ) -> dict[NormalizedName, ProjectFacts | None]:
        """
        Return the facts of projects, by name. `versions` has each project with its version.

        The facts are None if nothing of the project is shown, or it cannot be read. The method
        `versions` then leaves the project out until its version changes. The first use of an
        exception from the cooldown is written. Raises Invalid (code `bad_setting`) if the database
        of advisories is refused, and none was accepted before.
        """
        # before the facts are read: core metadata that is stored meanwhile changes the next version
        looks = {name: self._look(name) for name, _ in versions}
        # threads are for waiting, and a folder answers at once
        is_quick = self.upstream.is_local or len(versions) == 1
        threads = 1 if is_quick else MAX_CONCURRENT_READS
        read_facts = prefetch_map(self._facts, versions, threads)
        by_name = dict[NormalizedName, ProjectFacts | None]()
        for (name, version), facts in zip(versions, read_facts, strict=True):
            by_name[name] = facts
            if facts is None:
                self._left_out[name] = version
            elif facts.version and not facts.summary:
                self._undescribed.setdefault(name, looks[name])
            else:
                self._undescribed.pop(name, None)
        return by_name

    def _list(self) -> None:
        """List the stored pages: on a bucket, the more of them, the less often."""
        upstream = self.upstream
        now = upstream.runtime.monotonic()
        if now < self._list_again_at:
            return
        ids = [client.server.id for client in upstream.clients.in_order]
        stores = {upstream_id: upstream.files.cache(upstream_id).store for upstream_id in ids}
        listed_count = 0
        for upstream_id, store in stores.items():
            listed_count += self._list_pages(upstream_id, store)
        self._owners = dict(upstream.pages.stored_owners())
        listed_count += len(self._owners)
        is_file_list_old = now >= self._files_listed_at + DAY_SECONDS
        if is_file_list_old and any(map(self._is_old, self._entries())):
            # each old page is found only if a file of its project is kept, so all files are listed
            listed_count += self._list_files(stores.values())
            self._files_listed_at = now

        # in a folder, a listing costs nothing, so it is made each time
        if not upstream.is_local:
            seconds = 60.0 * listed_count / PAGES_A_MINUTE
            self._list_again_at = now + max(REMOTE_SECONDS, seconds)

    def _list_pages(self, upstream_id: str, store: Store) -> int:
        """List the stored pages of an upstream index, and return how many objects were listed."""
        listed_count = 0
        pages = dict[NormalizedName, Entry]()
        for entry in store.list(keys.UPSTREAM_PAGES):
            listed_count += 1
            name = keys.project_of_upstream_page(entry.key)
            if name:
                pages[name] = entry
        self._pages[upstream_id] = pages
        return listed_count

    def _list_files(self, stores: Iterable[Store]) -> int:
        """List the projects with kept files, and return how many objects were listed."""
        listed_count = 0
        projects = set[NormalizedName]()
        for store in stores:
            for entry in store.list(keys.FILES):
                listed_count += 1
                file_key = keys.parse_file_key(entry.key)
                if file_key is not None:
                    projects.add(NormalizedName(file_key.project))
        self._projects_with_files = frozenset(projects)
        return listed_count

    def _entries(self) -> Iterator[Entry]:
        """Yield all stored pages."""
        for pages in self._pages.values():
            yield from pages.values()

    def _is_old(self, entry: Entry) -> bool:
        """Return whether a page was not asked for lately: that would have written it again."""
        return self.upstream.runtime.seconds() - entry.modified > LATELY.total_seconds()

    def _used_names(self) -> Iterator[NormalizedName]:
        """Yield the projects whose page was asked for lately, or of which a file is kept."""
        for pages in self._pages.values():
            for name, entry in pages.items():
                if name in self._projects_with_files or not self._is_old(entry):
                    yield name

    def _objects(self, name: NormalizedName) -> dict[str, Entry]:
        """
        Return the objects of a project: its stored pages, by the ids of their upstream indexes.

        The object that says which of several indexes owns the name is there, too, as `owner`.
        """
        objects = dict[str, Entry]()
        for client in self.upstream.clients.asked_for(name):
            upstream_id = client.server.id
            entry = self._pages.get(upstream_id, {}).get(name)
            if entry is not None:
                objects[upstream_id] = entry
        if objects and name in self._owners:
            objects["owner"] = self._owners[name]
        return objects

    def _version(
        self, name: NormalizedName, objects: Mapping[str, Entry], decisions: ProjectDecisions
    ) -> str:
        """Return a text that changes with all that the facts of a project follow from."""
        decisions_digest = ""
        if decisions.all:
            decisions_digest = sha256(encode(decisions.all)).hexdigest()[:16]
        now = self.upstream.runtime.seconds()
        # the day of each project begins at another time, so that not all are read at one moment
        day = int(now + crc32(name.encode())) // DAY_SECONDS
        # Clients ask for the page first, and then for core metadata, which may have the summary.
        # Core metadata that this process has stored since the first look changes the text at once.
        # Of another process nobody knows, so the text changes 1, 2, 4, 8, ... minutes after a look.
        look = self._look(name)
        first_look = self._undescribed.get(name, look)
        minutes = int(look.looked_at - first_look.looked_at) // 60
        retries = minutes.bit_length()
        newly_kept = look.metadata_kept - first_look.metadata_kept
        states = " ".join(f"{source} {entry.state(now)}" for source, entry in objects.items())
        return f"{states} {decisions_digest} {day}.{retries + newly_kept}"

    def _look(self, name: NormalizedName) -> _Look:
        """Return the state of a project now, for `_version` to compare with."""
        return _Look(self.upstream.runtime.seconds(), self.upstream.files.metadata_kept(name))

    def _facts(self, project: tuple[NormalizedName, str]) -> ProjectFacts | None:
        """Return the facts of a project with a version, or None if nothing of it is shown."""
        name, version = project
        # one page or document that cannot be read must not hide all other projects
        with suppress(ValueError, TypeError):
            listings = self.upstream.read_stored(name)
            if listings:
                return facts_of(self.upstream, listings, version)
        return None


def facts_of(
    upstream: UpstreamIndex, listings: tuple[UpstreamListing, ...], document: str
) -> ProjectFacts:
    """
    Return the facts of what is shown of a project, with the core metadata that is stored.

    `listings` are those of the upstream indexes that have the project, at least one. `document` is
    the text that `PublicProjectList.versions` has returned for it. Raises Unavailable if the store
    does not answer.
    """
    listing = merged_listing(listings)
    latest = latest_release(releases_of(listing))
    description = NOT_DESCRIBED
    if latest is not None:
        filename = latest.metadata_file.filename
        page = listing.listing_of(filename).origin.page
        file = page.by_filename[filename]
        if file.serves_metadata:
            store = upstream.files.cache(page.upstream).store
            # only core metadata that clients have asked for is stored: a search fetches nothing
            core_metadata = core_metadata_of(page, file).find_stored(store)
            description = described_in(core_metadata or b"", page.name, file.version)
    facts = project_facts.facts_of(listing, latest, description)
    return replace(facts, origin=listing.origin.label, document=document)
