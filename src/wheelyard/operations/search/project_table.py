"""
The facts of all projects at one moment, and questions about those that a caller may read.

Nothing here can be asked without a caller, so that no answer, count or order tells of a project
that the caller may not read.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from heapq import nlargest, nsmallest
from itertools import chain, islice, pairwise
from operator import attrgetter, lt
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
"""The most names that one may have meant."""
MAX_EDITS: Final = 2
"""How many letters of a similar name are others, missing, added or swapped."""
SHORT_NAME: Final = 5
"""A name with fewer letters is similar only with one edit."""
CLASSIFIERS_OFFERED: Final = 200
"""The most classifiers that a form offers to filter by."""
CLASSIFIERS_COUNTED: Final = 5000
"""How many different sets of classifiers are looked at for that."""
_NAME: Final = attrgetter("name")
_ABOVE_ALL: Final = "~"
"""Sorts after each character of a normalised name."""

SIZE_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of the largest table that is read, before compression."""
MAX_CONCURRENT_READS: Final = 16
"""Projects that are read at a time from a remote store."""


class SearchResults(Struct, frozen=True):
    """A part of what a search has found."""

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
        Find the projects that have every word of `text` in what `ProjectFacts.text` has.

        Return how many there are, and those from `start` up to `stop`, which is not included.

        First comes the project whose name is `text`, then those that are imported by it, the
        longest import name first, then names that begin with it, then names that contain it, then
        all others. In each group, private ones come before public ones, sorted by name. If `text`
        is a line of Python that imports, what is imported by it comes before the name, in one group
        with it. Words are separated by blanks, and folded as names are. Without a word, nothing is
        found.
        """
        query = parse_query(text)
        if not query.words:
            return SearchResults(0, [])
        matches: Sequence[ProjectFacts] = self.projects
        for word in sorted(query.words, key=len, reverse=True):  # the longest leaves the fewest
            matches = [project for project in matches if word in project.text]
        name = "-".join(query.words)
        imported = self._imported_by(query.imports)
        if not query.is_statement:
            imported = [project for project in imported if project.name != name]
        if imported:
            imported_names = {project.name for project in imported}
            matches = [project for project in matches if project.name not in imported_names]
        begin, end = _range(matches, name)
        exact = begin
        if _find(matches, name) is not None:
            exact = begin + 1  # a name sorts before those that begin with it
        named = matches[begin:exact]
        best: Iterable[ProjectFacts] = chain(named, imported)
        if query.is_statement:
            best = _private_first(chain(imported, named))
        begun_otherwise = [*matches[:begin], *matches[end:]]

        # lazily: only as far as it is asked for
        ordered = chain(
            best,
            _private_first(matches[exact:end]),
            _private_first(project for project in begun_otherwise if name in project.name),
            _private_first(project for project in begun_otherwise if name not in project.name),
        )
        total = len(imported) + len(matches)
        return SearchResults(total, list(islice(ordered, start, stop)))

    def _imported_by(self, declarations: Sequence[str]) -> list[ProjectFacts]:
        """Return the projects that declare any of these: private ones first, then by the order."""
        groups = {declaration: list[ProjectFacts]() for declaration in declarations}
        for project in self.projects:
            if not project.imports:  # most projects declare nothing
                continue
            for declaration in declarations:
                if declaration in project.imports:
                    groups[declaration].append(project)
                    break
        # private ones first, as a stranger may declare any name
        return list(_private_first(chain.from_iterable(groups.values())))

    def similar(self, text: str) -> list[ProjectFacts]:
        """
        Return at most SIMILAR_SHOWN projects whose names one may have meant by `text`, best first.

        They differ by a letter or two, or begin so.
        """
        folded = fold(text)[:NAME_LIMIT]
        most = 1
        distances = dict[ProjectFacts, int]()
        if len(folded) >= SHORT_NAME:
            most = MAX_EDITS
            # a name that begins so is as near as the furthest one that differs
            start, stop = _range(self.projects, folded)
            distances = dict.fromkeys(self.projects[start:stop], most)

        # of so many pieces one is in a name that so few edits have made, and few names have one
        count = most + 2
        cuts = [len(folded) * cut // count for cut in range(count + 1)]
        pieces = [folded[start:stop] for start, stop in pairwise(cuts)]
        letters = frozenset(folded)
        for project in self.projects:
            name = project.name
            # the cheap comparisons first, as this looks at every project
            if abs(len(name) - len(folded)) > most or not any(piece in name for piece in pieces):
                continue
            if len(letters.symmetric_difference(name)) <= 2 * most:  # an edit changes two at most
                distance = edit_distance(folded, name, most)
                if distance <= most:
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
        """Some classifiers of these projects, sorted: of many the most frequent."""
        # projects of one team have the same ones, and one text is split and counted fastest
        texts = dict.fromkeys(project.classifiers for project in self.projects)
        counts = Counter("".join(islice(texts, CLASSIFIERS_COUNTED)).split("\n"))
        del counts[""]
        return sorted(classifier for classifier, _ in counts.most_common(CLASSIFIERS_OFFERED))


def edit_distance(source: str, target: str, most: int) -> int:
    """
    Return how many letters of a text are replaced, left out, added or swapped to get another one.

    A letter is swapped with the next one. That is the optimal string alignment distance. It is
    `most` + 1 if it is greater than `most`.
    """
    # equal ends change nothing, and most names share one
    while source and target and source[0] == target[0]:
        source = source[1:]
        target = target[1:]
    while source and target and source[-1] == target[-1]:
        source = source[:-1]
        target = target[:-1]
    too_many = most + 1
    width = len(target) + 1

    # each row has the distances from the first `at` letters to the first `to` letters of the target
    before = [too_many] * width
    last = [min(to, too_many) for to in range(width)]
    for at, letter in enumerate(source, 1):
        row = [too_many] * width
        row[0] = min(at, too_many)
        # further away from the diagonal more letters are missing than may be
        for to in range(max(1, at - most), min(width, at + too_many)):
            cost = min(last[to] + 1, row[to - 1] + 1, last[to - 1] + (letter != target[to - 1]))
            if at > 1 and to > 1 and letter == target[to - 2] and source[at - 2] == target[to - 1]:
                cost = min(cost, before[to - 2] + 1)
            row[to] = min(cost, too_many)
        if min(row) > most:
            return too_many
        before = last
        last = row
    return last[-1]


class ProjectTable(Struct, frozen=True, dict=True, array_like=True):
    """The facts of all projects, private and public ones, sorted by name."""

    projects: tuple[ProjectFacts, ...] = ()
    generation: int = 0
    """Different for each table that a process has had."""
    serial: int = 0
    """All changes up to it are in the table, except those of `unread`, or 0 if none is known."""
    unread: frozenset[NormalizedName] = frozenset()
    """Names that are to be read whatever the feed says: new, unlisted and damaged ones."""

    def readable_by(self, caller: Caller) -> VisibleProjects:
        """
        Return the projects that `caller` may read.

        Whoever has a credential that may read anything, or approve, may read all public projects.
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
        end = 0
        # the ranges may overlap: what is before `end` was looked at already
        for start, stop in ranges:
            if has_all_public and end < start and self._has_public:
                readable += (project for project in self.projects[end:start] if project.origin)
            readable += self.projects[max(start, end) : stop]
            end = max(end, stop)
        return VisibleProjects(tuple(readable))

    def projects_of(self, caller: Caller, principals: Collection[str]) -> list[ProjectFacts]:
        """
        Return the private projects that are a caller's own, the latest upload first.

        These are the ones that a scope of the caller allows to change and does not take in with all
        others, and those that the caller may read and whose latest upload is of one of
        `principals`.
        """
        changing = list[Scope]()
        for scope in caller.scopes:
            if scope.actions & (Action.UPLOAD | Action.MANAGE):
                patterns = tuple(set(scope.projects) - {EVERY_PROJECT})
                changing.append(Scope(Action.READ, patterns, scope.indexes))
        # a caller who may read exactly what the caller may change
        changeable = self.readable_by(Caller(caller.principal, tuple(changing)))
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
        """How much all private projects list together."""
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
        Return the table with these facts, and without the projects that have None.

        It is this one if nothing is new, and has its generation if only documents were read again.
        """
        # pages are cached under the generation, so it stays while no page would be another one
        new_facts = {name: facts for name, facts in changes.items() if self.find(name) != facts}
        if not new_facts:
            return self
        projects = list(self.projects)
        generation = self.generation
        for name, facts in new_facts.items():
            at = bisect_left(projects, name, key=_NAME)
            end = at
            if at < len(projects) and projects[at].name == name:
                end = at + 1
            # replaced in its place, where the list need not be moved
            projects[at:end] = () if facts is None else (facts,)
            if not self._looks_like(name, facts):
                generation = self.generation + 1
        return replace(self, projects=tuple(projects), generation=generation)

    def _looks_like(self, name: NormalizedName, facts: ProjectFacts | None) -> bool:
        """Return whether a project has these facts, but for the version of its document."""
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
        start, stop = _range(self.projects, prefix)
        if prefix != pattern:
            return start, stop
        # a name without a star is that of one project
        return start, start + (self.find(NormalizedName(prefix)) is not None)


def table_of(projects: Iterable[ProjectFacts]) -> ProjectTable:
    """Return a table of these projects."""
    return ProjectTable(tuple(sorted(projects, key=_NAME)))


def _private_first(projects: Iterable[ProjectFacts]) -> Iterator[ProjectFacts]:
    """Yield the private ones of these projects, and then the public ones."""
    public = list[ProjectFacts]()
    for project in projects:
        if project.origin:
            public.append(project)
        else:
            yield project
    yield from public


def _find(projects: Sequence[ProjectFacts], name: str) -> ProjectFacts | None:
    """Return the project of a name among projects that are sorted by name, or None."""
    at = bisect_left(projects, name, key=_NAME)
    if at < len(projects) and projects[at].name == name:
        return projects[at]
    return None


def _range(projects: Sequence[ProjectFacts], prefix: str) -> tuple[int, int]:
    """Return where the projects begin and end whose name begins with `prefix`."""
    start = bisect_left(projects, prefix, key=_NAME)
    return start, bisect_left(projects, prefix + _ABOVE_ALL, lo=start, key=_NAME)


def encode_table(table: ProjectTable) -> bytes:
    """Return the bytes to store for a table."""
    return gzipped(Encoder().encode(table))


def decode_table(body: bytes) -> ProjectTable | None:
    """Return the table in stored bytes, or None if they are damaged, too large or no table."""
    try:
        table = Decoder(ProjectTable).decode(gunzipped(body, SIZE_LIMIT) or b"")
    except (DecodeError, UnicodeDecodeError):
        return None
    names = [project.name for project in table.projects]
    # whether they are names is asked later, when they are compared with the list of all names
    if not all(map(lt, names, names[1:])):
        return None
    return table


class FactsReader(Struct, frozen=True):
    """Reads the facts of projects from their documents and core metadata."""

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

        def read(name: NormalizedName) -> dict[NormalizedName, ProjectFacts | None]:
            # also if somebody has written a version that is none into the document, or a local time
            with UnreadableIgnored(), suppress(ValueError, TypeError):
                project = self.document(name, may_be_cached=may_be_cached)
                if project is None or project.is_released:
                    return {name: None}
                return {name: self.facts_of(project)}
            return {}  # the other projects are found all the same

        threads = MAX_CONCURRENT_READS
        if self.is_local or len(names) == 1:
            threads = 1  # handing work to threads takes longer than reading a file
        facts = dict[NormalizedName, ProjectFacts | None]()
        for facts_by_name in prefetch_map(read, names, threads):
            facts |= facts_by_name
        return facts

    def facts_of(self, project: Project) -> ProjectFacts:
        """
        Return the facts of a project with these files, as its latest release describes it.

        Raises Unavailable if the store does not answer.
        """
        latest = latest_release(releases_of(project))
        description = NOT_DESCRIBED
        if latest is not None:
            description = self._described(project.name, latest.metadata_file)
        return private_facts_of(project, latest, description)

    def document(self, name: NormalizedName, *, may_be_cached: bool = False) -> Project | None:
        """
        Return the document of a project, or None if there is none, as it is in the store now.

        It is not put into the cache, and may be from there only if it `may_be_cached`. Raises
        Unavailable if it is damaged or lost, or the store does not answer.
        """
        key = keys.project(name)
        documents = self.projects.documents
        if may_be_cached:
            return documents.get(key).value
        cached = documents.peek(key, "any") or Snapshot(None, ABSENT, 0, 0, 0)
        # past the cache, which is for what clients ask for
        stored = self.projects.store.get(key, cached.version or None)
        if isinstance(stored, NotModified):
            return cached.value
        whole_key = self.projects.store.whole_key(key)
        if stored is None and self.projects.has_journal(name):
            stored = self.projects.store.get(key)  # it may have been made just now
            if stored is None:
                raise damaged(f"The document {whole_key} is lost.")
        if not isinstance(stored, Stored):
            return None
        return documents.codec.decode(whole_key, stored.body)

    def _described(self, name: NormalizedName, file: File) -> Description:
        """Return what a file says of its project, or NOT_DESCRIBED if its metadata are lost."""
        raw = b""
        if file.has_metadata:
            with suppress(NotFound):  # the project is found by its name all the same
                raw = self.files.core_metadata(name, file)
        return described_in(raw, name, file.version)


def described_in(raw: bytes, name: NormalizedName, version: str) -> Description:
    """
    Return what the core metadata of a file say, or their valid fields.

    It is NOT_DESCRIBED if they are empty, or another project's.
    """
    # a server that shows no pages, and a command, need no parser
    from wheelyard.model.metadata import (  # noqa: PLC0415
        import_patterns,
        parse_headers,
        parse_leniently,
    )

    if not raw:
        return NOT_DESCRIBED
    try:
        headers = parse_headers(raw)  # a fifth of the work of parsing all fields
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
