"""Which projects a site is to have, private and public ones, as the store has them now."""

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.exporting.manifest import ManifestEntry
from wheelyard.operations.search.project_table import ProjectTable, table_of
from wheelyard.rendering.project_facts import ProjectFacts, name_facts
from wheelyard.storage.base import ObjectVersion
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.upstream.index import UpstreamIndex, UpstreamListing

REMOTE_THREADS: Final = 16
"""Public projects that are read at a time from a bucket."""
NO_COMMIT: Final = "0"
"""The `document` of the facts of a private name without any commit."""


class SiteProjects(Struct, frozen=True):
    """Finds the projects of a site."""

    index: Index
    before: Mapping[NormalizedName, ManifestEntry]
    """The projects that the site has."""
    changed: Mapping[NormalizedName, int] | None
    """The revisions of those that may have changed since; None for all."""

    def read(self) -> tuple[ProjectTable, list[NormalizedName]]:
        """Return the facts of all projects, and the names of those whose document is damaged."""
        facts, damaged = self._private()
        if self.index.upstream is not None:
            facts = self._public(self.index.upstream, {*facts, *damaged}) | facts
        return table_of(replace(entry, text="") for entry in facts.values()), damaged

    def _private(self) -> tuple[dict[NormalizedName, ProjectFacts], list[NormalizedName]]:
        listed = self.index.projects.names.get_current().as_set
        before = {name: each.facts for name, each in self.before.items() if not each.facts.origin}
        facts, changed = dict[NormalizedName, ProjectFacts](), self.changed
        for name, entry in before.items():
            if changed is not None and name in listed and entry.document:
                revision = str(changed.get(name, entry.document))
                facts |= {name: entry} if entry.document == revision else {}
        # one that is not listed was released, or the list is damaged
        stale = sorted((listed | before.keys()) - facts.keys())
        read = self.index.search.reader.read(stale)
        damaged = [name for name in stale if name not in read]
        facts |= {name: before.get(name) or name_facts(name) for name in damaged}
        facts |= {name: entry for name, entry in read.items() if entry is not None}
        for name in listed - facts.keys():  # a private name without any commit
            facts[name] = replace(name_facts(name), document=NO_COMMIT)
        return facts, damaged

    def _public(
        self, upstream: "UpstreamIndex", private: set[NormalizedName]
    ) -> dict[NormalizedName, ProjectFacts]:
        """Return the facts of the public projects of which a file is kept that may be shown."""
        threads = 1 if upstream.is_local else REMOTE_THREADS
        names = sorted(set(_kept_names(upstream)) - private)
        read = prefetch_map(partial(self._public_facts, upstream), names, threads)
        return {facts.name: facts for facts in read if facts is not None}

    def _public_facts(self, upstream: "UpstreamIndex", name: NormalizedName) -> ProjectFacts | None:
        """Return the facts of a public project; None if nothing of it is to be shown."""
        # nothing of it is loaded without an upstream index
        from wheelyard.upstream.search_facts import facts_of  # noqa: PLC0415

        if upstream.names.is_private(name) or upstream.policy.refuses_name(name) is not None:
            return None
        listing = upstream.stored(name)
        if listing is None or not listing.files or not listing.status.serves_files:
            return None
        document, entry = _version_of(listing), self.before.get(name)
        if entry is not None and (entry.facts.document, entry.facts.origin) == (
            document,
            listing.origin.label,
        ):
            return entry.facts
        return facts_of(upstream, listing, document)


def _kept_names(upstream: "UpstreamIndex") -> Iterator[NormalizedName]:
    for server in upstream.config.servers:
        for entry in upstream.files.cache(server.id).store.list(keys.FILES):
            owner = keys.parse_file_key(entry.key)
            if owner is not None:
                yield NormalizedName(owner.project)


def _version_of(listing: "UpstreamListing") -> ObjectVersion:
    """Return another version whenever the pages of a public project show something else."""
    origin = listing.origin
    shown = (listing.status, listing.reason, listing.files, listing.empty_versions, origin.label)
    content = encode([*shown, origin.hidden(), origin.decisions()])
    return ObjectVersion(f"upstream {sha256(content).hexdigest()}")
