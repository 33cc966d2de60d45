"""The projects of a site: of its index, of the layers, and public ones with files that are kept."""

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.exporting.site_folder import ManifestEntry
from wheelyard.operations.search.project_table import ProjectTable, table_of
from wheelyard.rendering.project_facts import ProjectFacts, name_facts
from wheelyard.storage.base import ObjectVersion
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamIndex, UpstreamListing
    from wheelyard.upstream.merged_listing import MergedListing

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
    """The revisions of those that may have changed since, or None for all."""

    def read(self) -> tuple[ProjectTable, list[NormalizedName]]:
        """
        Return the facts of all projects, and the names of those whose document is damaged.

        They are the projects of the index, of its layers, and the public ones of which a file is
        kept. The facts of a damaged one are those of the last export, or have its name alone.

        Raises Unavailable if the store does not answer.
        """
        if self.index.repository.has_own_packages_alone:
            facts, damaged = self._private()
        else:
            facts, damaged = self._of_layers()
        if self.index.upstream is not None:
            private = set(facts)
            private.update(damaged)
            facts = self._public(self.index.upstream, private) | facts
        unreadable = set(damaged)
        listed = list[ProjectFacts]()
        for name, entry in facts.items():
            visible = self.index.repository.shown_facts(entry)
            # one that cannot be read stays as it was
            if name in unreadable:
                visible = entry
            # what no page shows is not in the manifest, which anybody may read
            if visible is not None:
                listed.append(replace(visible, text="", uploaded_by=""))
        return table_of(listed), damaged

    def _private(self) -> tuple[dict[NormalizedName, ProjectFacts], list[NormalizedName]]:
        """Return the facts of the projects of an index, and the names of damaged ones."""
        listed = self.index.projects.names.get_current().as_set
        before = dict[NormalizedName, ProjectFacts]()
        for name, entry in self.before.items():
            if not entry.facts.origin:
                before[name] = entry.facts
        facts = dict[NormalizedName, ProjectFacts]()
        for name, previous in before.items():
            if name in listed and self._is_unchanged(previous):
                facts[name] = previous

        # one that is not listed was released, or the list is damaged
        stale = sorted((listed | before.keys()) - facts.keys())
        read = self.index.search.reader.read(stale)
        damaged = [name for name in stale if name not in read]
        for name in damaged:
            facts[name] = before.get(name) or name_facts(name)
        facts.update({name: new for name, new in read.items() if new is not None})

        # a private name without any commit
        for name in listed - facts.keys():
            facts[name] = replace(name_facts(name), document=NO_COMMIT)
        return facts, damaged

    def _is_unchanged(self, previous: ProjectFacts) -> bool:
        """Return whether a project is as the last export has read it, by the feed."""
        # without a version, the last export has failed for it
        if self.changed is None or not previous.document:
            return False
        revision = self.changed.get(previous.name)
        return revision is None or str(revision) == previous.document

    def _of_layers(self) -> tuple[dict[NormalizedName, ProjectFacts], list[NormalizedName]]:
        """
        Return the facts of the projects of an index with layers, and the names of damaged ones.

        All of it is read each time, as the feed of the index does not have what layers have.
        """
        facts = dict[NormalizedName, ProjectFacts]()
        damaged = set[NormalizedName]()
        # the first layer that has a name is the one that the index shows
        for own in self.index.repository.own_packages():
            names = sorted(own.projects.names.get_current().as_set - facts.keys())
            read = own.search.reader.read(names)
            damaged.update(set(names) - read.keys())
            facts.update({name: new for name, new in read.items() if new is not None})
        for name in damaged:
            before = self.before.get(name)
            facts[name] = before.facts if before is not None else name_facts(name)
        return facts, sorted(damaged)

    def _public(
        self, upstream: "UpstreamIndex", private: set[NormalizedName]
    ) -> dict[NormalizedName, ProjectFacts]:
        """Return the facts of the public projects of which a file is kept that may be shown."""
        threads = 1 if upstream.is_local else REMOTE_THREADS
        names = sorted(set(_kept_names(upstream)) - private)
        read = prefetch_map(partial(self._public_facts, upstream), names, threads)
        return {facts.name: facts for facts in read if facts is not None}

    def _public_facts(self, upstream: "UpstreamIndex", name: NormalizedName) -> ProjectFacts | None:
        """Return the facts of a public project, or None if nothing of it is to be shown."""
        # nothing of it is loaded without an upstream index
        from wheelyard.upstream.merged_listing import merged_listing  # noqa: PLC0415
        from wheelyard.upstream.search_facts import facts_of  # noqa: PLC0415

        if upstream.names.is_private(name) or upstream.policy.refusal_of_name(name) is not None:
            return None
        listings = upstream.read_stored(name)
        if not listings:
            return None
        listing = merged_listing(listings)
        if not listing.files or not listing.status.serves_files:
            return None
        document = _version_of(listing)
        before = self.before.get(name)
        if before is not None:
            is_same_origin = before.facts.origin == listing.origin.label
            if is_same_origin and before.facts.document == document:
                return before.facts
        return facts_of(upstream, listings, document)


def _kept_names(upstream: "UpstreamIndex") -> Iterator[NormalizedName]:
    """Yield the names of public projects of which a file is kept, each perhaps several times."""
    for client in upstream.clients.in_order:
        for entry in upstream.files.cache(client.server.id).store.list(keys.FILES):
            owner = keys.parse_file_key(entry.key)
            if owner is not None:
                yield NormalizedName(owner.project)


def _version_of(listing: "UpstreamListing | MergedListing") -> ObjectVersion:
    """Return another version whenever the pages of a public project show something else."""
    origin = listing.origin
    content = encode(
        [
            listing.status,
            listing.reason,
            listing.files,
            listing.empty_versions,
            origin.label,
            listing.variants,
            origin.hidden(),
            origin.decisions(),
        ]
    )
    return ObjectVersion(f"upstream {sha256(content).hexdigest()}")
