"""The projects of a site: those of its index, of layers, and public projects with kept files."""

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
"""How many public projects are read at a time from a bucket."""
NO_COMMIT: Final = "0"
"""The `document` in the facts of a private name without any commit."""


class SiteProjects(Struct, frozen=True):
    """Finds the projects of a site."""

    index: Index
    before: Mapping[NormalizedName, ManifestEntry]
    """The projects of the site before this export."""
    changed: Mapping[NormalizedName, int] | None
    """
    The revisions of the projects that may have changed since the last export. None means that all
    projects have to be read.
    """

    def read(self) -> tuple[ProjectTable, list[NormalizedName]]:
        """
        Return the facts of all projects, and the names of projects whose document is damaged.

        The facts of a damaged project are those of the last export, or if there are none, its name
        alone. Raises Unavailable if the store does not answer.
        """
        if self.index.repository.has_own_packages_alone:
            facts_by_name, damaged_names = self._read_own_projects()
        else:
            facts_by_name, damaged_names = self._read_layers()
        damaged_set = set(damaged_names)
        if self.index.upstream is not None:
            private_names = facts_by_name.keys() | damaged_set
            facts_by_name = self._read_public(self.index.upstream, private_names) | facts_by_name
        site_facts = list[ProjectFacts]()
        for name, facts in facts_by_name.items():
            shown_facts = self.index.repository.shown_facts(facts)
            # a project that cannot be read stays as it was
            if name in damaged_set:
                shown_facts = facts
            # without facts that no page shows, as anybody may read the manifest
            if shown_facts is not None:
                site_facts.append(replace(shown_facts, text="", uploaded_by=""))
        return table_of(site_facts), damaged_names

    def _read_own_projects(self) -> tuple[dict[NormalizedName, ProjectFacts], list[NormalizedName]]:
        """Return the facts of the projects of an index, and the names of damaged projects."""
        listed_names = self.index.projects.names.get_current().as_set
        facts_before = dict[NormalizedName, ProjectFacts]()
        for name, entry in self.before.items():
            if not entry.facts.origin:
                facts_before[name] = entry.facts
        facts_by_name = dict[NormalizedName, ProjectFacts]()
        for name, facts in facts_before.items():
            if name in listed_names and self._is_unchanged(facts):
                facts_by_name[name] = facts

        # also projects that are not listed: the name was released, or the list is damaged
        names_to_read = sorted((listed_names | facts_before.keys()) - facts_by_name.keys())
        read_facts = self.index.search.reader.read(names_to_read)
        damaged_names = [name for name in names_to_read if name not in read_facts]
        for name in damaged_names:
            facts_by_name[name] = facts_before.get(name) or name_facts(name)
        facts_by_name.update(_existing_facts(read_facts))

        # private names without any commit
        for name in listed_names - facts_by_name.keys():
            facts_by_name[name] = replace(name_facts(name), document=NO_COMMIT)
        return facts_by_name, damaged_names

    def _is_unchanged(self, facts_before: ProjectFacts) -> bool:
        """Return whether the feed has no change of a project since the last export has read it."""
        # without a version, the last export could not read the project
        if self.changed is None or not facts_before.document:
            return False
        revision = self.changed.get(facts_before.name)
        return revision is None or str(revision) == facts_before.document

    def _read_layers(self) -> tuple[dict[NormalizedName, ProjectFacts], list[NormalizedName]]:
        """
        Return the facts of the projects of an index with layers, and the names of damaged projects.

        All projects are read each time, as the feed of the index has no changes of its layers.
        """
        facts_by_name = dict[NormalizedName, ProjectFacts]()
        damaged_names = set[NormalizedName]()
        # the index shows a name as the first layer has it
        for packages in self.index.repository.own_packages():
            listed_names = packages.projects.names.get_current().as_set
            names_to_read = sorted(listed_names - facts_by_name.keys())
            read_facts = packages.search.reader.read(names_to_read)
            damaged_names.update(set(names_to_read) - read_facts.keys())
            facts_by_name.update(_existing_facts(read_facts))
        for name in damaged_names:
            entry = self.before.get(name)
            facts_by_name[name] = entry.facts if entry is not None else name_facts(name)
        return facts_by_name, sorted(damaged_names)

    def _read_public(
        self, upstream: "UpstreamIndex", private_names: set[NormalizedName]
    ) -> dict[NormalizedName, ProjectFacts]:
        """Return the facts of the public projects of which the store keeps a file."""
        threads = 1 if upstream.is_local else REMOTE_THREADS
        names = sorted(set(_kept_names(upstream)) - private_names)
        read_facts = partial(self._read_public_facts, upstream)
        facts_by_name = dict[NormalizedName, ProjectFacts]()
        for facts in prefetch_map(read_facts, names, threads):
            if facts is not None:
                facts_by_name[facts.name] = facts
        return facts_by_name

    def _read_public_facts(
        self, upstream: "UpstreamIndex", name: NormalizedName
    ) -> ProjectFacts | None:
        """Return the facts of a public project, or None if the site shows nothing of it."""
        # imported here, so that no module of `upstream` is loaded without an upstream index
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
        entry = self.before.get(name)
        if entry is not None and entry.facts.document == document:
            return entry.facts
        return facts_of(upstream, listings, document)


def _existing_facts(
    read_facts: Mapping[NormalizedName, ProjectFacts | None],
) -> dict[NormalizedName, ProjectFacts]:
    """Return the facts of the projects that exist. None stands for a project that does not."""
    return {name: facts for name, facts in read_facts.items() if facts is not None}


def _kept_names(upstream: "UpstreamIndex") -> Iterator[NormalizedName]:
    """Yield the names of public projects of which a file is kept. A name may come repeatedly."""
    for client in upstream.clients.in_order:
        cache = upstream.files.cache(client.server.id)
        for entry in cache.store.list(keys.FILES):
            owner = keys.parse_file_key(entry.key)
            if owner is not None:
                yield NormalizedName(owner.project)


def _version_of(listing: "UpstreamListing | MergedListing") -> ObjectVersion:
    """Return a digest of all that the pages of a public project show, which is its version."""
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
