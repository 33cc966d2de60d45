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
REMOTE_THREADS: Final = 16
"""Public projects that are read at a time from a bucket."""
NO_COMMIT: Final = "0"
"""The `document` of the facts of a private name without any commit."""


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

        If `existing` is None, each page is compared with that in the site. Raises Unavailable if
        the site does not answer, and Conflict if the lease is lost.
        """
        if self.pool is None:
            for page in pages:
                self.writer.write(page, existing)
            return
        # the results are None, and an error of a thread is raised where its result is taken
        for _ in self.pool.map(self.writer.write, pages, repeat(existing)):
            pass


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
        Copy missing files of a project, and write those pages that have changed.

        `facts` are those that the manifest will have. In the result they have no `document` if the
        next export has to read the project again. Nothing is deleted here. Raises NotFound, or
        Unavailable with one of `UNREADABLE_CODES`, if the store has lost something of the project.
        Raises Unavailable with another code if the store or the site does not answer. Raises
        Conflict if the lease is lost.
        """
        listing = self._find(facts)
        while True:
            try:
                return self._export(listing, facts)
            except (NotFound, Unavailable) as fault:
                is_lost = isinstance(fault, NotFound) or fault.code in UNREADABLE_CODES
                later = self._find(facts)
                # with the same document, the store has lost what the project lists
                if not is_lost or later.version == listing.version:
                    raise
                # a file was deleted meanwhile
                listing = later

    def _find(self, facts: ProjectFacts) -> OpenListing:
        """Return what the site is to show of a project, as it is in the store now."""
        app = self.pages.app
        if not facts.origin:
            # read anew, after which the cache keeps it: all pages are made from this document
            for own in app.index.repository.own_packages():
                own.projects.documents.get(keys.project(facts.name), "current")
        return app.find(facts.name)

    def _export(self, listing: OpenListing, facts: ProjectFacts) -> ExportedProject:
        """Write what has changed of a project, as a listing has it."""
        app = self.pages.app
        writer = self.pages.writer
        name = listing.name
        if self.existing is None:
            existing: Sizes = writer.sizes(f"{root}{name}/" for root in ROOTS)
        else:
            existing = self.existing.get(name, {})
        obsolete = set[Key]()

        # before the pages that link to them
        if self.copies_files:
            documents = listing.open.page_documents()
            obsolete.update(writer.copy_missing(listing, listing.open.store_of, documents))
        project = Project(name=name)

        # a public project has no history
        if isinstance(listing.open, PrivateFiles):
            project = listing.open.first.project
        unchanged = self._unchanged_history(project, existing)
        numbers = range(1, older_pages(project.revision) + 1)
        history = (number for number in numbers if number not in unchanged)
        questions = list(project_questions(listing, history))
        is_final = True

        # a project may have thousands of pages, which need not be in memory at once
        for start in range(0, len(questions), PAGES_AT_ONCE):
            answers = list(map(app.ask, questions[start : start + PAGES_AT_ONCE]))
            is_final &= all(page.is_final for page in answers)
            self.pages.write(answers, existing)
        paths = [question.target for question in questions]
        paths += [history_path(name, number) for number in unchanged]
        obsolete.update(existing)
        for path in paths:
            obsolete.difference_update(writer.paths_of(path))
        required = app.required_names(listing)
        if not is_final:
            # without its version, so that the next export reads it again
            facts = replace(facts, document=ABSENT)
        mentioned = sorted(required.difference(facts.required_names, [name]))
        return ExportedProject(ManifestEntry(facts, " ".join(mentioned)), frozenset(obsolete))

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
        # without the last one, which had no link to a newer one
        unchanged = range(1, older_pages(revision))
        for number in unchanged:
            path = history_path(project.name, number)
            if not all(key in existing for key in self.pages.writer.paths_of(path)):
                return range(0)
        return unchanged


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
            # without a version, the last export has failed for it
            if self.changed is not None and name in listed and previous.document:
                revision = str(self.changed.get(name, previous.document))
                if previous.document == revision:
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

        if upstream.names.is_private(name) or upstream.policy.refuses_name(name) is not None:
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
