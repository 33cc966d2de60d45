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
from wheelyard.storage.base import ABSENT, ObjectVersion
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.upstream.index import UpstreamIndex, UpstreamListing

REMOTE_THREADS: Final = 16
"""Public projects that are read at a time from a bucket."""


class SiteProjects(Struct, frozen=True):
    """Finds the projects of a site."""

    index: Index
    before: Mapping[NormalizedName, ManifestEntry]
    """The projects that the site has."""

    def read(self) -> tuple[ProjectTable, list[NormalizedName]]:
        """Return the facts of all projects, and the names of those whose document is damaged."""
        facts, damaged = self._private()
        if self.index.upstream is not None:
            facts = self._public(self.index.upstream, {*facts, *damaged}) | facts
        return table_of(replace(entry, text="") for entry in facts.values()), damaged

    def _private(self) -> tuple[dict[NormalizedName, ProjectFacts], list[NormalizedName]]:
        projects = self.index.projects
        listed = projects.names.get_current().as_set
        documents, unlisted = dict.fromkeys(listed, str(ABSENT)), set[NormalizedName]()
        now = self.index.runtime.seconds()
        for entry in projects.store.list(keys.PROJECTS):
            name = keys.project_of(entry.key)
            if name in listed:
                documents[name] = entry.state(now)
            elif name is not None and name in self.before:
                unlisted.add(name)
        facts = {
            name: entry.facts
            for name, entry in self.before.items()
            if not entry.facts.origin
            and (name in documents or (name in unlisted and self._is_unreleased(name)))
        }
        for name, version in documents.items():
            if version == ABSENT and name not in facts:  # a private name without any commit
                facts[name] = name_facts(name)
        stale = [
            (name, version)
            for name, version in documents.items()
            if name not in facts or facts[name].document != version
        ]
        damaged = list[NormalizedName]()
        for name, current in self.index.search.reader.read(stale).items():
            if current is None:
                damaged.append(name)
            else:
                facts[name] = current
        return facts, damaged

    def _is_unreleased(self, name: NormalizedName) -> bool:
        """Return whether a project that is not listed was not released: the list is damaged."""
        project = self.index.projects.documents.get(keys.project(name), "current").value
        return project is not None and not project.is_released

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
