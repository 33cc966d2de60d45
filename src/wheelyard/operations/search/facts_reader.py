"""Reads the facts of projects from their documents, and the core metadata of latest releases."""

from collections.abc import Collection
from contextlib import suppress
from typing import Final, Literal

from msgspec import Struct
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Snapshot, UnreadableIgnored, damaged
from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import Invalid, NotFound
from wheelyard.model.project import File, Project
from wheelyard.rendering.project_facts import (
    NOT_DESCRIBED,
    Description,
    ProjectFacts,
    latest_release,
    private_facts_of,
    releases_of,
)
from wheelyard.storage.base import ABSENT, NotModified

MAX_CONCURRENT_READS: Final = 16
"""Projects that are read at a time from a remote store."""


class FactsReader(Struct, frozen=True):
    """Reads the facts of projects; documents that are in the cache are not read again."""

    projects: Projects
    files: Files
    is_local: bool

    def read(
        self, names: Collection[NormalizedName], *, may_be_cached: bool = False
    ) -> dict[NormalizedName, ProjectFacts | None]:
        """
        Return the facts of these projects, None of one without a document or a released one.

        A project of which something is damaged or lost is left out. Documents are read as they are
        now, unless they `may_be_cached`. Raises Unavailable if the store does not answer.
        """

        def read(name: NormalizedName) -> ProjectFacts | Literal["unreadable"] | None:
            # also if somebody has written a version that is none into the document, or a local time
            with UnreadableIgnored(), suppress(ValueError, TypeError):
                project = self._document(name, may_be_cached=may_be_cached)
                return None if project is None or project.is_released else self._facts_of(project)
            return "unreadable"  # the other projects are found all the same

        threads = 1 if self.is_local or len(names) == 1 else MAX_CONCURRENT_READS
        facts = zip(names, prefetch_map(read, names, threads), strict=True)
        return {name: each for name, each in facts if each != "unreadable"}

    def _facts_of(self, project: Project) -> ProjectFacts:
        latest, description = latest_release(releases_of(project)), NOT_DESCRIBED
        if latest is not None:
            description = self._described(project.name, latest.metadata_file)
        return private_facts_of(project, latest, description)

    def _document(self, name: NormalizedName, *, may_be_cached: bool) -> Project | None:
        key, documents = keys.project(name), self.projects.documents
        if may_be_cached:
            return documents.get(key).value
        cached = documents.peek(key, "any") or Snapshot(None, ABSENT, 0, 0, 0)
        # past the cache, which is for what clients ask for
        stored = self.projects.store.get(key, cached.version or None)
        if isinstance(stored, NotModified):
            return cached.value
        if stored is None and self.projects.has_journal(name):
            raise damaged(f"The document of {name} is lost.")
        return documents.codec.decode(key, stored.body) if stored else None

    def _described(self, name: NormalizedName, file: File) -> Description:
        try:
            raw = self.files.core_metadata(name, file) if file.has_metadata else b""
        except NotFound:
            raw = b""
        return described_in(raw, name, file.version)


def described_in(raw: bytes, name: NormalizedName, version: str) -> Description:
    """Return what the core metadata of a file say; nothing of empty ones, or another project's."""
    # a server that shows no pages, and a command, need no parser
    from wheelyard.model.metadata import parse_headers, parse_leniently  # noqa: PLC0415

    if not raw:
        return NOT_DESCRIBED
    try:
        headers = parse_headers(raw)  # a fifth of the work of parsing all fields
        if canonicalize_name(headers.first("name") or name) != name:
            return NOT_DESCRIBED
        summary, keywords = headers.first("summary") or "", headers.first("keywords") or ""
        return Description(summary, keywords, headers.every("requires-dist"))
    except Invalid:
        core = parse_leniently(raw, name, version)
        return Description(core.summary or "", core.keywords or "", core.requires_dist)
