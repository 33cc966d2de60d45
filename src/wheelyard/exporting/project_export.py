"""The export of one project: its missing files, then its pages, all made from one document."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from itertools import repeat
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import UNREADABLE_CODES, NotFound, Unavailable
from wheelyard.exporting.application import SiteApplication
from wheelyard.exporting.site_folder import COMMON_PATHS, ManifestEntry, SiteStore
from wheelyard.exporting.site_pages import (
    INDEX,
    Page,
    SiteWriter,
    Sizes,
    history_path,
    project_questions,
)
from wheelyard.http.resolver import OpenListing, PrivateFiles
from wheelyard.model.project import Project
from wheelyard.operations.journal_reader import older_pages
from wheelyard.operations.search.project_table import ProjectTable, table_of
from wheelyard.rendering.project_facts import ProjectFacts, name_facts
from wheelyard.storage.base import ABSENT, Entry, Key, ObjectVersion
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamIndex, UpstreamListing
    from wheelyard.upstream.merged_listing import MergedListing


ROOTS: Final = ("simple/", "project/", "pypi/", "integrity/")
"""The folders in which each project has a folder of its own."""
PAGE_PREFIXES: Final = (*ROOTS, "-/", "setup/", INDEX, "search.json", "feed.xml", *COMMON_PATHS)
"""The folders of all pages, which end with a slash, and the pages outside of them."""
PAGES_AT_ONCE: Final = 32
"""Pages of a project that are asked for before they are written."""


def pages_in(site: SiteStore, folder: str = "") -> Iterator[Entry]:
    """
    Yield what is where exports write pages, in a site or in a folder of it.

    That is all that is in the folders of pages, and each other page, also compressed. Raises
    Unavailable if the site does not answer.
    """
    for prefix in PAGE_PREFIXES:
        for entry in site.list(folder + prefix):
            path = entry.key.removeprefix(folder)
            if prefix.endswith("/") or path.removesuffix(".gz") == prefix:
                yield entry


class ExportedProject(Struct, frozen=True):
    """A project as it is in the site now."""

    entry: ManifestEntry
    obsolete: frozenset[Key]
    """Its pages and files to delete as soon as no page links to them."""


class SitePages(Struct, frozen=True):
    """Asks the application for pages, and writes them."""

    app: SiteApplication
    writer: SiteWriter
    pool: ThreadPoolExecutor | None
    """Waits for a bucket. None if store and site are in folders."""

    def write(self, pages: Iterable[Page], existing: Sizes | None) -> None:
        """
        Write those pages whose bytes have changed.

        Without `existing`, each page is compared with that in the site. Raises as `SiteWriter`.
        """
        if self.pool is None:
            for page in pages:
                self.writer.write(page, existing)
            return
        for _ in self.pool.map(self.writer.write, pages, repeat(existing)):
            pass  # the results are None, and an error of a thread is raised here


class ProjectExport(Struct, frozen=True, kw_only=True):
    """Exports single projects, private and public ones alike. Threads may share it."""

    pages: SitePages
    copies_files: bool
    """Whether the site has copies of files. Otherwise they are left elsewhere."""
    before: Mapping[NormalizedName, ManifestEntry]
    existing: Mapping[str, Sizes] | None
    """The pages of each project in the site, or None if they are listed for each project."""

    def export(self, facts: ProjectFacts) -> ExportedProject:
        """
        Write what has changed of a project.

        `facts` are those that the manifest will have. Raises NotFound, or Unavailable with one of
        `UNREADABLE_CODES`, if the store has lost something of the project. Raises Unavailable with
        another code if the store or the site does not answer. Raises Conflict if the lease is lost.
        """
        listing = self._find(facts)
        while True:
            try:
                return self._export(listing, facts)
            except (NotFound, Unavailable) as fault:
                is_lost = isinstance(fault, NotFound) or fault.code in UNREADABLE_CODES
                later = self._find(facts)
                if not is_lost or later.version == listing.version:
                    raise
                listing = later  # a file was deleted meanwhile

    def _find(self, facts: ProjectFacts) -> OpenListing:
        """Return what the site is to show of a project, as it is in the store now."""
        app = self.pages.app
        own_packages = app.index.repository.own_packages()
        for own in own_packages if not facts.origin else ():
            own.projects.documents.get(keys.project(facts.name), "current")
        return app.find(facts.name)

    def _export(self, listing: OpenListing, facts: ProjectFacts) -> ExportedProject:
        app, writer, name = self.pages.app, self.pages.writer, listing.name
        if self.existing is None:
            existing: Sizes = writer.sizes(f"{root}{name}/" for root in ROOTS)
        else:
            existing = self.existing.get(name, {})
        obsolete = set[Key]()
        if self.copies_files:  # before the pages that link to them
            documents = listing.open.page_documents()
            obsolete.update(writer.copy_missing(listing, listing.open.store_of, documents))
        files, project = listing.open, Project(name=name)
        if isinstance(files, PrivateFiles):
            project = files.first.project
        unchanged = self._unchanged_history(project, existing)
        numbers = range(1, older_pages(project.revision) + 1)
        history = (number for number in numbers if number not in unchanged)
        questions = list(project_questions(listing, history))
        is_final = True
        for start in range(0, len(questions), PAGES_AT_ONCE):
            some_questions = questions[start : start + PAGES_AT_ONCE]
            answers = [app.ask(question) for question in some_questions]
            is_final &= all(page.is_final for page in answers)
            self.pages.write(answers, existing)
        kept = [question.target for question in questions]
        kept += [history_path(name, number) for number in unchanged]
        obsolete |= existing.keys() - {key for path in kept for key in writer.paths_of(path)}
        required = app.required_names(listing)
        entry = ManifestEntry(
            facts if is_final else replace(facts, document=ABSENT),
            " ".join(sorted(required.difference(facts.required_names, [name]))),
        )
        return ExportedProject(entry, frozenset(obsolete))

    def _unchanged_history(self, project: Project, existing: Sizes) -> range:
        """
        Return the numbers of older pages of the history that are in the site as they would be made.

        A journal only gets longer. If it was restored from a backup, the feed does not know the
        serial of the site, and all pages are made, as they are for a view, whose rules may decide
        otherwise about old files.
        """
        entry = self.before.get(project.name)
        if (
            entry is None
            or self.existing is not None
            or self.pages.app.index.repository.hides_files
        ):
            return range(0)
        revision = int(entry.facts.document) if entry.facts.document.isdecimal() else 0
        unchanged = range(1, older_pages(revision))  # the last one has no link to a newer one
        paths = (history_path(project.name, number) for number in unchanged)
        is_there = all(
            key in existing for path in paths for key in self.pages.writer.paths_of(path)
        )
        return unchanged if is_there else range(0)


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

        Raises Unavailable if the store does not answer.
        """
        if self.index.repository.has_own_packages_alone:
            facts, damaged = self._private()
        else:
            facts, damaged = self._of_layers()
        if self.index.upstream is not None:
            facts = self._public(self.index.upstream, {*facts, *damaged}) | facts
        seen = {name: self.index.repository.shown_facts(entry) for name, entry in facts.items()}
        # one that cannot be read stays as it was
        seen |= {name: facts[name] for name in damaged}
        facts = {name: entry for name, entry in seen.items() if entry is not None}
        # what no page shows is not in the manifest, which anybody may read
        shown = (replace(entry, text="", uploaded_by="") for entry in facts.values())
        return table_of(shown), damaged

    def _private(self) -> tuple[dict[NormalizedName, ProjectFacts], list[NormalizedName]]:
        listed = self.index.projects.names.get_current().as_set
        earlier = ((name, entry.facts) for name, entry in self.before.items())
        before = {name: facts for name, facts in earlier if not facts.origin}
        facts, changed = dict[NormalizedName, ProjectFacts](), self.changed
        for name, previous in before.items():
            if changed is not None and name in listed and previous.document:
                revision = str(changed.get(name, previous.document))
                if previous.document == revision:
                    facts[name] = previous
        # one that is not listed was released, or the list is damaged
        stale = sorted((listed | before.keys()) - facts.keys())
        read = self.index.search.reader.read(stale)
        damaged = [name for name in stale if name not in read]
        facts |= {name: before.get(name) or name_facts(name) for name in damaged}
        facts |= {name: new for name, new in read.items() if new is not None}
        for name in listed - facts.keys():  # a private name without any commit
            facts[name] = replace(name_facts(name), document=NO_COMMIT)
        return facts, damaged

    def _of_layers(self) -> tuple[dict[NormalizedName, ProjectFacts], list[NormalizedName]]:
        """Return the same of an index with several layers, of which all is read each time."""
        facts, damaged = dict[NormalizedName, ProjectFacts](), set[NormalizedName]()
        for own in self.index.repository.own_packages():
            wanted = sorted(own.projects.names.get_current().as_set - facts.keys())
            read = own.search.reader.read(wanted)
            damaged |= set(wanted) - read.keys()
            facts |= {name: entry for name, entry in read.items() if entry is not None}
        earlier = {name: entry.facts for name, entry in self.before.items()}
        facts |= {name: earlier.get(name) or name_facts(name) for name in damaged}
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

        if upstream.names.is_private(name) or upstream.policy.refuses_name(name) is not None:
            return None
        listings = upstream.read_stored(name)
        if not listings:
            return None
        listing = merged_listing(listings)
        if not listing.files or not listing.status.serves_files:
            return None
        document, entry = _version_of(listing), self.before.get(name)
        if entry is not None and (entry.facts.document, entry.facts.origin) == (
            document,
            listing.origin.label,
        ):
            return entry.facts
        return facts_of(upstream, listings, document)


def _kept_names(upstream: "UpstreamIndex") -> Iterator[NormalizedName]:
    for client in upstream.clients.in_order:
        for entry in upstream.files.cache(client.server.id).store.list(keys.FILES):
            owner = keys.parse_file_key(entry.key)
            if owner is not None:
                yield NormalizedName(owner.project)


def _version_of(listing: "UpstreamListing | MergedListing") -> ObjectVersion:
    """Return another version whenever the pages of a public project show something else."""
    origin = listing.origin
    shown = (listing.status, listing.reason, listing.files, listing.empty_versions, origin.label)
    content = encode([*shown, listing.variants, origin.hidden(), origin.decisions()])
    return ObjectVersion(f"upstream {sha256(content).hexdigest()}")
