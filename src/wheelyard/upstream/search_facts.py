"""
The public projects that the search finds: which ones, and the facts about them.

They are those whose page is stored, and was asked for lately, or of which a file is kept, or that
somebody has approved. A name without a page may be private, or nobody's. Everything comes from the
store: no upstream index is asked, and nothing is counted.
"""

from collections.abc import Collection, Iterator, Mapping
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
from wheelyard.storage.base import Entry
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


class _Look(NamedTuple):
    """What was so when a project was looked at."""

    at: float
    """In seconds since the epoch."""
    metadata_kept: int
    """Of how many of its files this process had kept the core metadata."""


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
    """What is stored of the owners of names, if there are several upstream indexes."""
    _list_at: float = -inf
    """The monotonic time from which the stored pages are listed again."""
    _kept: frozenset[NormalizedName] = frozenset()
    """Projects of which a file is kept. They are only listed if there are old pages."""
    _kept_at: float = -inf
    """The monotonic time at which the kept files were listed."""
    _left_out: dict[NormalizedName, str] = field(default_factory=dict)
    """Projects of which nothing is shown, so that they are not read each time."""
    _undescribed: dict[NormalizedName, _Look] = field(default_factory=dict)
    """The first look at projects without a summary, whose core metadata may be kept later."""

    def may_show(self, name: NormalizedName) -> bool:
        """
        Return whether settings and namespaces allow that a name is public.

        Raises Unavailable if the namespaces cannot be read.
        """
        upstream = self.upstream
        return upstream.policy.accepts(name) and not upstream.names.is_reserved(name)

    def versions(self) -> dict[NormalizedName, str]:
        """
        Return a text for each project that changes when its facts may be others.

        Those of which nothing is shown are left out.
        """
        self._list()
        versions = dict[NormalizedName, str]()
        for name, decisions in self.upstream.policy.accepted(self._used_names()):
            if self.upstream.names.is_reserved(name):
                continue
            objects = self._objects(name)
            if objects:
                versions[name] = self._version(name, objects, decisions)
        # only as long as the version is the same, else the facts are read again
        self._left_out = dict(self._left_out.items() & versions.items())
        for name in self._undescribed.keys() - versions.keys():
            del self._undescribed[name]
        return {name: version for name, version in versions.items() if name not in self._left_out}

    def read(
        self, versions: Collection[tuple[NormalizedName, str]]
    ) -> dict[NormalizedName, ProjectFacts | None]:
        """
        Return the facts of these projects, by name.

        It is None for one of which nothing is shown, or that cannot be read. `versions` then leaves
        it out until its version is another one. The first use of an exception from the cooldown is
        written. Raises Invalid (code `bad_setting`) if no database of advisories can be used.
        """
        # before they are read: what is kept meanwhile is looked at again
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
        if now < self._list_at:
            return
        ids = [client.server.id for client in upstream.clients.in_order]
        stores = {upstream_id: upstream.files.cache(upstream_id).store for upstream_id in ids}
        listed_count = 0
        for upstream_id, store in stores.items():
            pages = dict[NormalizedName, Entry]()
            for entry in store.list(keys.UPSTREAM_PAGES):
                listed_count += 1
                name = keys.project_of_upstream_page(entry.key)
                if name:
                    pages[name] = entry
            self._pages[upstream_id] = pages
        self._owners = dict(upstream.pages.stored_owners())
        listed_count += len(self._owners)
        if now >= self._kept_at + DAY_SECONDS and any(map(self._is_old, self._entries())):
            # each old page has to be known as kept or not, so all files are listed
            kept = set[NormalizedName]()
            for store in stores.values():
                for entry in store.list(keys.FILES):
                    listed_count += 1
                    owner = keys.parse_file_key(entry.key)
                    if owner is not None:
                        kept.add(NormalizedName(owner.project))
            self._kept = frozenset(kept)
            self._kept_at = now

        # in a folder, listing costs nothing, so it is done each time
        if not upstream.is_local:
            self._list_at = now + max(REMOTE_SECONDS, 60.0 * listed_count / PAGES_A_MINUTE)

    def _entries(self) -> Iterator[Entry]:
        """Yield all stored pages."""
        for pages in self._pages.values():
            yield from pages.values()

    def _is_old(self, entry: Entry) -> bool:
        """Return whether a page was not asked for lately: if it was, it was written again."""
        return self.upstream.runtime.seconds() - entry.modified > LATELY.total_seconds()

    def _used_names(self) -> Iterator[NormalizedName]:
        """Yield the projects whose page was asked for lately, or of which a file is kept."""
        for pages in self._pages.values():
            for name, entry in pages.items():
                if name in self._kept or not self._is_old(entry):
                    yield name

    def _objects(self, name: NormalizedName) -> dict[str, Entry]:
        """
        Return the stored pages of a project by the ids of their upstream indexes, in their order.

        If there are several, what says to which of them the name belongs is one of them.
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
        decided = ""
        if decisions.all:
            decided = sha256(encode(decisions.all)).hexdigest()[:16]
        now = self.upstream.runtime.seconds()
        # not all at the same time of the day
        day = int(now + crc32(name.encode())) // DAY_SECONDS
        # Clients ask for the page first, and then for core metadata, which may have the summary.
        # What this process has kept of it since the first look changes the text at once. What
        # another process keeps tells nobody, so the text changes 1, 2, 4, 8, ... minutes after it.
        look = self._look(name)
        first = self._undescribed.get(name, look)
        retries = (int(look.at - first.at) // 60).bit_length()
        newly_kept = look.metadata_kept - first.metadata_kept
        states = " ".join(f"{place} {entry.state(now)}" for place, entry in objects.items())
        return f"{states} {decided} {day}.{retries + newly_kept}"

    def _look(self, name: NormalizedName) -> _Look:
        """Return what is so now, for `_version` to compare with."""
        return _Look(self.upstream.runtime.seconds(), self.upstream.files.metadata_kept(name))

    def _facts(self, project: tuple[NormalizedName, str]) -> ProjectFacts | None:
        """Return the facts of a project and version, or None if nothing of it is shown."""
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

    `listings` is what upstream indexes have of it, at least one. `document` is the text that
    `PublicProjectList.versions` has returned for it. Raises Unavailable if the store does not
    answer.
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
            # only what clients have asked for is stored: a search fetches nothing
            raw = core_metadata_of(page, file).find_stored(store)
            description = described_in(raw or b"", page.name, file.version)
    facts = project_facts.facts_of(listing, latest, description)
    return replace(facts, origin=listing.origin.label, document=document)
