"""
The table of facts of all projects at one moment, and the search in it for one caller.

A search needs a caller, so that no answer, count or order tells of a project that the caller may
not read. The module also reads the facts, and encodes the stored table.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from heapq import nlargest, nsmallest
from itertools import chain, islice, pairwise
from operator import attrgetter
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder
from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import (
    Snapshot,
    UnreadableIgnored,
    damaged,
    gunzipped,
    gzipped,
)
from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import Invalid, NotFound
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Pattern, Scope
from wheelyard.model.distribution_filename import NAME_LIMIT
from wheelyard.model.project import File, Project
from wheelyard.model.quotas import ListedAmount
from wheelyard.operations.search.search_query import parse_query
from wheelyard.rendering.project_facts import (
    NOT_DESCRIBED,
    Description,
    ProjectFacts,
    fold,
    latest_release,
    private_facts_of,
    releases_of,
)
from wheelyard.storage.base import ABSENT, NotModified, Stored

SIMILAR_SHOWN: Final = 5
"""The most similar names that are shown."""
MAX_EDITS: Final = 2
"""The most letters of a similar name that are replaced, missing, added or swapped."""
SHORT_NAME: Final = 5
"""The length below which a similar name may have one edit alone."""
CLASSIFIERS_OFFERED: Final = 200
"""The most classifiers that a form offers to filter by."""
CLASSIFIERS_COUNTED: Final = 5000
"""The most different sets of classifiers that are counted for the form."""
_NAME: Final = attrgetter("name")
_ABOVE_ALL: Final = "~"
"""A character that sorts after each character of a normalised name."""

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""The bytes of the largest table that is read, before compression."""
MAX_CONCURRENT_READS: Final = 16
"""The most projects that are read at a time from a remote store."""


class SearchResults(Struct, frozen=True):
    """A page of the projects that a search has found."""

    total: int
    """The number of all projects that match."""
    projects: list[ProjectFacts]
    """The matches that were asked for, in order."""


class VisibleProjects(Struct, frozen=True, dict=True):
    """The facts of the projects that one caller may read, sorted by name."""

    projects: tuple[ProjectFacts, ...]

    @property
    def private(self) -> Iterator[ProjectFacts]:
        """The private projects that the caller may read."""
        return (project for project in self.projects if not project.origin)

    @property
    def public(self) -> Iterator[ProjectFacts]:
        """The projects of upstream indexes that the caller may read."""
        return (project for project in self.projects if project.origin)

    def search(self, text: str, start: int, stop: int) -> SearchResults:
        """
        Find the projects that have every word of `text` in their `ProjectFacts.text`.

        Return how many there are, and the facts of those from `start` up to `stop`, which is not
        included.

        First comes the project whose name is `text`, then projects with that import name, the
        longest import name first, then names that begin with `text`, then names that contain it,
        then all others. In each group, private projects come before public ones, sorted by name. If
        `text` is an import statement, the projects with its import name come before the project of
        that name, in one group with it. Words are separated by blanks, and folded as names are.
        Without a word, nothing is found.
        """
        query = parse_query(text)
        if not query.words:
            return SearchResults(0, [])
        matches = self._with_words(query.words)
        name = "-".join(query.words)
        imported = self._imported_by(query.imports)
        if not query.is_statement:
            imported = [project for project in imported if project.name != name]
        if imported:
            imported_names = {project.name for project in imported}
            matches = [project for project in matches if project.name not in imported_names]

        # the matches are sorted: first the name itself, and then names that begin with it
        start_of_prefix, stop_of_prefix = _range(matches, name)
        stop_of_name = start_of_prefix
        if _find(matches, name) is not None:
            stop_of_name = start_of_prefix + 1
        with_name = matches[start_of_prefix:stop_of_name]
        with_prefix = matches[stop_of_name:stop_of_prefix]
        without_prefix = [*matches[:start_of_prefix], *matches[stop_of_prefix:]]
        best_matches: Iterable[ProjectFacts] = chain(with_name, imported)
        if query.is_statement:
            best_matches = _private_first(chain(imported, with_name))

        # generators, so that no more projects are put in order than the page needs
        ordered = chain(
            best_matches,
            _private_first(with_prefix),
            _private_first(project for project in without_prefix if name in project.name),
            _private_first(project for project in without_prefix if name not in project.name),
        )
        total = len(imported) + len(matches)
        return SearchResults(total, list(islice(ordered, start, stop)))

    def _with_words(self, words: Sequence[str]) -> Sequence[ProjectFacts]:
        """Return the projects that have all of these words in their texts."""
        matches: Sequence[ProjectFacts] = self.projects
        # the longest word first, as fewest projects have it
        for word in sorted(words, key=len, reverse=True):
            matches = [project for project in matches if word in project.text]
        return matches

    def _imported_by(self, declarations: Sequence[str]) -> list[ProjectFacts]:
        """
        Return the projects that have one of these declarations in their imports.

        Private projects are first, and then projects with an earlier declaration.
        """
        groups = {declaration: list[ProjectFacts]() for declaration in declarations}
        for project in self.projects:
            if not project.imports:  # most projects declare nothing
                continue
            for declaration in declarations:
                if declaration in project.imports:
                    groups[declaration].append(project)
                    break
        # public projects are last, as a stranger may declare any import name
        return list(_private_first(chain.from_iterable(groups.values())))

    def similar(self, text: str) -> list[ProjectFacts]:
        """
        Return at most SIMILAR_SHOWN projects whose names somebody may have meant by `text`.

        Their names differ from `text` by a letter or two, or begin with it. The most similar is
        first.
        """
        folded = fold(text)[:NAME_LIMIT]
        max_edits = 1
        distances = dict[ProjectFacts, int]()
        if len(folded) >= SHORT_NAME:
            max_edits = MAX_EDITS
            # a name that begins with the text is as similar as a name with the most edits
            start, stop = _range(self.projects, folded)
            distances = dict.fromkeys(self.projects[start:stop], max_edits)

        # An edit changes one piece, or two if it swaps letters at their border. So nearly every
        # name with so few edits still has one of the pieces, which few other names have.
        pieces = _equal_pieces(folded, max_edits + 2)
        letters = frozenset(folded)
        for project in self.projects:
            name = project.name
            # the cheap comparisons first, as this looks at every project
            if abs(len(name) - len(folded)) > max_edits:
                continue
            if not any(piece in name for piece in pieces):
                continue
            different_letters = letters.symmetric_difference(name)
            if len(different_letters) > 2 * max_edits:  # an edit changes two letters at most
                continue
            distance = edit_distance(folded, name, max_edits)
            if distance <= max_edits:
                distances[project] = distance

        def rank(project: ProjectFacts) -> tuple[int, bool, str]:
            return distances[project], bool(project.origin), project.name

        return nsmallest(SIMILAR_SHOWN, distances, key=rank)

    def latest_changes(self, count: int) -> list[ProjectFacts]:
        """Return at most `count` private projects, those with the newest commits first."""
        return nlargest(count, self.private, key=attrgetter("changed"))

    def used_by(self, name: NormalizedName) -> list[ProjectFacts]:
        """Return the projects whose latest release requires `name`, sorted."""
        required = f" {name} "
        return [project for project in self.projects if required in project.requires]

    def named(self, names: Iterable[NormalizedName]) -> Iterator[ProjectFacts]:
        """Yield the projects that have one of `names`, in the order of the names."""
        projects = (_find(self.projects, name) for name in names)
        return (project for project in projects if project is not None)

    @cached_property
    def classifiers(self) -> list[str]:
        """The most frequent classifiers of these projects, sorted, at most CLASSIFIERS_OFFERED."""
        # many projects have the same classifiers, so each different text is counted once
        texts = dict.fromkeys(project.classifiers for project in self.projects)
        # joined, as one long text is split and counted fastest
        joined = "".join(islice(texts, CLASSIFIERS_COUNTED))
        counts = Counter(joined.split("\n"))
        del counts[""]
        return sorted(classifier for classifier, _ in counts.most_common(CLASSIFIERS_OFFERED))


def _equal_pieces(text: str, count: int) -> list[str]:
    """Return a text cut into `count` pieces, whose lengths differ by one at most."""
    cuts = [len(text) * number // count for number in range(count + 1)]
    return [text[start:stop] for start, stop in pairwise(cuts)]


def edit_distance(source: str, target: str, most: int) -> int:
    """
    Return how many letters of `source` are replaced, left out, added or swapped to get `target`.

    A letter is swapped with the next one. This is the optimal string alignment distance. If it is
    greater than `most`, `most` + 1 is returned.
    """
    # equal beginnings and ends change nothing, and most names have one
    while source and target and source[0] == target[0]:
        source = source[1:]
        target = target[1:]
    while source and target and source[-1] == target[-1]:
        source = source[:-1]
        target = target[:-1]
    too_many = most + 1
    width = len(target) + 1

    # row `i` has the distances of the first `i` letters of the source, column `j` those of the
    # first `j` letters of the target
    row_before_last = [too_many] * width
    last_row = [min(j, too_many) for j in range(width)]
    for i, letter in enumerate(source, 1):
        row = [too_many] * width
        row[0] = min(i, too_many)
        # columns further from the diagonal have more than `most` letters left out or added
        for j in range(max(1, i - most), min(width, i + too_many)):
            left_out = last_row[j] + 1
            added = row[j - 1] + 1
            replaced = last_row[j - 1] + (letter != target[j - 1])
            distance = min(left_out, added, replaced)
            if i > 1 and j > 1 and letter == target[j - 2] and source[i - 2] == target[j - 1]:
                swapped = row_before_last[j - 2] + 1
                distance = min(distance, swapped)
            row[j] = min(distance, too_many)
        if min(row) > most:
            return too_many
        row_before_last = last_row
        last_row = row
    return last_row[-1]


class ProjectTable(Struct, frozen=True, dict=True, array_like=True):
    """The facts of all projects, private and public ones, sorted by name."""

    projects: tuple[ProjectFacts, ...] = ()
    generation: int = 0
    """A number that rises whenever a page made of the table would change."""
    serial: int = 0
    """
    The serial up to which the table has all changes, except those of `unread`.

    It is 0 if no serial is known.
    """
    unread: frozenset[NormalizedName] = frozenset()
    """Names that the next refresh reads whatever the feed says: new, unlisted and damaged ones."""

    def readable_by(self, caller: Caller) -> VisibleProjects:
        """
        Return the projects that `caller` may read.

        A caller with a credential that may read anything, or approve, may read all public projects.
        """
        if caller.may_everywhere(Action.READ):
            return self._everything
        has_all_public = caller.may_read_public_packages
        patterns = set[Pattern]()
        for scope in caller.scopes:
            if scope.actions & Action.READ:
                patterns.update(scope.projects)
        ranges = sorted(map(self._range, patterns))
        # an empty range at the end, for the public projects behind the last pattern
        ranges.append((len(self.projects), len(self.projects)))
        readable = list[ProjectFacts]()
        done = 0  # the projects before this place are in the result, or left out
        for start, stop in ranges:
            if has_all_public and done < start and self._has_public:
                between_ranges = self.projects[done:start]
                readable += [project for project in between_ranges if project.origin]
            # the ranges may overlap
            readable += self.projects[max(start, done) : stop]
            done = max(done, stop)
        return VisibleProjects(tuple(readable))

    def projects_of(self, caller: Caller, principals: Collection[str]) -> list[ProjectFacts]:
        """
        Return the private projects that are a caller's own, the latest upload first.

        A project is the caller's own if a scope allows the caller to change it, by a pattern that
        does not match every project. A project that the caller may read is the caller's own, too,
        if its latest upload is by one of `principals`.
        """
        changing_scopes = list[Scope]()
        for scope in caller.scopes:
            if scope.actions & (Action.UPLOAD | Action.MANAGE):
                patterns = tuple(set(scope.projects) - {EVERY_PROJECT})
                changing_scopes.append(Scope(Action.READ, patterns, scope.indexes))
        # `reader` may read exactly the projects that the caller may change
        reader = Caller(caller.principal, tuple(changing_scopes))
        changeable = self.readable_by(reader)
        projects = {project.name: project for project in changeable.private}
        for project in self.readable_by(caller).private:
            if project.uploaded_by in principals:
                projects[project.name] = project
        return sorted(projects.values(), key=attrgetter("uploaded", "name"), reverse=True)

    @property
    def private(self) -> Iterator[ProjectFacts]:
        """The private projects."""
        return self._everything.private

    @property
    def private_names(self) -> set[NormalizedName]:
        """The names of the private projects."""
        return {project.name for project in self.private}

    @cached_property
    def usage(self) -> ListedAmount:
        """The number and the size of the files of all private projects."""
        size = 0
        files = 0
        for project in self.private:
            size += project.bytes
            files += project.files
        return ListedAmount(size, files)

    @cached_property
    def _everything(self) -> VisibleProjects:
        return VisibleProjects(self.projects)

    @cached_property
    def _has_public(self) -> bool:
        return any(project.origin for project in self.projects)

    def find(self, name: NormalizedName) -> ProjectFacts | None:
        """Return the facts of a project, or None if it is not in the table."""
        return _find(self.projects, name)

    def updated(self, changes: Mapping[NormalizedName, ProjectFacts | None]) -> "ProjectTable":
        """
        Return the table with these facts, and without the projects whose facts are None.

        Without new facts, this table is returned. The generation stays if only the versions of
        documents are new.
        """
        # pages are cached under the generation, so it stays as long as no page changes
        new_facts = {name: facts for name, facts in changes.items() if self.find(name) != facts}
        if not new_facts:
            return self
        projects = list(self.projects)
        generation = self.generation
        for name, facts in new_facts.items():
            start = bisect_left(projects, name, key=_NAME)
            stop = start
            if start < len(projects) and projects[start].name == name:
                stop = start + 1
            # by a slice, so that the list is not moved for facts that replace others
            projects[start:stop] = () if facts is None else (facts,)
            if not self._has_same_pages(name, facts):
                generation = self.generation + 1
        return replace(self, projects=tuple(projects), generation=generation)

    def _has_same_pages(self, name: NormalizedName, facts: ProjectFacts | None) -> bool:
        """Return whether these facts of a project differ in the version of its document alone."""
        if facts is None:
            return False
        return self.find(name) == replace(facts, document=self.document_of(name))

    def document_of(self, name: NormalizedName) -> str:
        """Return the `document` of a project's facts, or an empty text if it has none."""
        facts = self.find(name)
        if facts is None:
            return ""
        return facts.document

    def _range(self, pattern: Pattern) -> tuple[int, int]:
        """Return where the projects begin and end that a pattern matches."""
        prefix = pattern.removesuffix("*")
        start, stop_of_prefix = _range(self.projects, prefix)
        if prefix != pattern:
            return start, stop_of_prefix
        # a pattern without a star is the name of one project
        stop = start
        if self.find(NormalizedName(prefix)) is not None:
            stop = start + 1
        return start, stop


def table_of(projects: Iterable[ProjectFacts]) -> ProjectTable:
    """Return a table of these projects."""
    return ProjectTable(tuple(sorted(projects, key=_NAME)))


def _private_first(projects: Iterable[ProjectFacts]) -> Iterator[ProjectFacts]:
    """Yield the private projects among these, and then the public ones."""
    public = list[ProjectFacts]()
    for project in projects:
        if project.origin:
            public.append(project)
        else:
            yield project
    yield from public


def _find(projects: Sequence[ProjectFacts], name: str) -> ProjectFacts | None:
    """Return the project with a name among sorted projects, or None if there is none."""
    place = bisect_left(projects, name, key=_NAME)
    if place < len(projects) and projects[place].name == name:
        return projects[place]
    return None


def _range(projects: Sequence[ProjectFacts], prefix: str) -> tuple[int, int]:
    """Return where the projects begin and end whose name begins with `prefix`."""
    start = bisect_left(projects, prefix, key=_NAME)
    stop = bisect_left(projects, prefix + _ABOVE_ALL, lo=start, key=_NAME)
    return start, stop


def encode_table(table: ProjectTable) -> bytes:
    """Return the bytes to store for a table."""
    return gzipped(Encoder().encode(table))


def decode_table(body: bytes) -> ProjectTable | None:
    """Return the table in stored bytes, or None if these are damaged, too large or no table."""
    try:
        table = Decoder(ProjectTable).decode(gunzipped(body, SIZE_LIMIT) or b"")
    except (DecodeError, UnicodeDecodeError):
        return None
    names = [project.name for project in table.projects]
    # whether these are names is checked later, by the list of names
    if not all(name < next_name for name, next_name in pairwise(names)):
        return None
    return table


class FactsReader(Struct, frozen=True):
    """Reads the facts of projects from their documents and core metadata."""

    projects: Projects
    files: Files
    is_local: bool
    """Whether the store is on this machine, so that reads need no threads."""

    def read(
        self, names: Collection[NormalizedName], *, may_be_cached: bool = False
    ) -> dict[NormalizedName, ProjectFacts | None]:
        """
        Return the facts of these projects.

        The facts are None if a project has no document, or its name is released. A project whose
        document or metadata are damaged or lost is left out. Documents are read as they are now,
        unless they `may_be_cached`. Raises Unavailable if the store does not answer.
        """

        def read_one(name: NormalizedName) -> dict[NormalizedName, ProjectFacts | None]:
            # ValueError and TypeError: somebody has written a wrong version, or a local time, into
            # the document
            with UnreadableIgnored(), suppress(ValueError, TypeError):
                project = self.document(name, may_be_cached=may_be_cached)
                if project is None or project.is_released:
                    return {name: None}
                return {name: self.facts_of(project)}
            return {}

        threads = MAX_CONCURRENT_READS
        if self.is_local or len(names) == 1:
            threads = 1  # handing work to threads takes longer than reading a file
        facts = dict[NormalizedName, ProjectFacts | None]()
        for facts_by_name in prefetch_map(read_one, names, threads):
            facts |= facts_by_name
        return facts

    def facts_of(self, project: Project) -> ProjectFacts:
        """
        Return the facts of a project with these files, with the metadata of its latest release.

        Raises Unavailable if the store does not answer.
        """
        latest = latest_release(releases_of(project))
        description = NOT_DESCRIBED
        if latest is not None:
            description = self._read_description(project.name, latest.metadata_file)
        return private_facts_of(project, latest, description)

    def document(self, name: NormalizedName, *, may_be_cached: bool = False) -> Project | None:
        """
        Return the document of a project as it is in the store now, or None if there is none.

        The document may be from the cache if it `may_be_cached`. It is not put into the cache.
        Raises Unavailable if the document is damaged or lost, or the store does not answer.
        """
        key = keys.project(name)
        documents = self.projects.documents
        if may_be_cached:
            return documents.get(key).value
        cached = documents.peek(key, "any") or Snapshot(None, ABSENT, 0, 0, 0)
        # not put into the cache, which is for projects that clients ask for
        stored = self.projects.store.get(key, cached.version or None)
        if isinstance(stored, NotModified):
            return cached.value
        whole_key = self.projects.store.whole_key(key)
        if stored is None and self.projects.has_journal(name):
            # again, as the document may have been made after the first read
            stored = self.projects.store.get(key)
            if stored is None:
                raise damaged(f"The document {whole_key} is lost.")
        if not isinstance(stored, Stored):
            return None
        return documents.codec.decode(whole_key, stored.body)

    def _read_description(self, name: NormalizedName, file: File) -> Description:
        """Return the core metadata of a file, or NOT_DESCRIBED if there are none, or lost ones."""
        raw = b""
        if file.has_metadata:
            with suppress(NotFound):  # the project is found by its name all the same
                raw = self.files.core_metadata(name, file)
        return described_in(raw, name, file.version)


def described_in(raw: bytes, name: NormalizedName, version: str) -> Description:
    """
    Return the fields of a file's core metadata that the table has.

    Of metadata that are not valid, the valid fields are returned. Empty metadata, and those of
    another project, give NOT_DESCRIBED.
    """
    # imported here, as commands and servers without pages need no parser
    from wheelyard.model.metadata import (  # noqa: PLC0415
        import_patterns,
        parse_headers,
        parse_leniently,
    )

    if not raw:
        return NOT_DESCRIBED
    try:
        headers = parse_headers(raw)  # takes a fifth of the time of parsing all fields
        if canonicalize_name(headers.first("name") or name) != name:
            return NOT_DESCRIBED
        summary = headers.first("summary") or ""
        keywords = headers.first("keywords") or ""
        requirements = headers.every("requires-dist")
        imports = import_patterns(headers)
        classifiers = headers.every("classifier")
        return Description(summary, keywords, requirements, imports, classifiers)
    except Invalid:
        # an import with --lenient may have taken a file with such metadata
        core = parse_leniently(raw, name, version)
        summary = core.summary or ""
        keywords = core.keywords or ""
        imports = core.imports.patterns
        return Description(summary, keywords, core.requires_dist, imports, core.classifiers)
