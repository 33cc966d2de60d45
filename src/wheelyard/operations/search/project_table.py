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
    """Those of them that were asked for, in order."""


class VisibleProjects(Struct, frozen=True, dict=True):
    """The facts of the projects that one caller may read, sorted by name."""

    projects: tuple[ProjectFacts, ...]

    @property
    def private(self) -> Iterator[ProjectFacts]:
        """The private ones of them."""
        return (project for project in self.projects if not project.origin)

    @property
    def public(self) -> Iterator[ProjectFacts]:
        """Those of upstream indexes."""
        return (project for project in self.projects if project.origin)

    def search(self, text: str, start: int, stop: int) -> SearchResults:
        """
        Find the projects that have every word of `text` in what `ProjectFacts.text` has.

        Return how many there are, and those from `start` up to `stop`, which is not included.

        First comes the project whose name is `text`, then those that are imported by it, the
        longest import name first, then names that begin with it, then names that contain it, then
        all others; in each group, private ones come before public ones, sorted by name. If `text`
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
        begin, end = _range(matches, name)  # a name sorts before those that begin with it
        exact = begin + (_find(matches, name) is not None)
        others = [*matches[:begin], *matches[end:]]
        named = matches[begin:exact]
        best: Iterable[ProjectFacts] = chain(named, imported)
        if query.is_statement:
            best = _private_first(chain(imported, named))
        ordered = chain(  # only as far as it is asked for
            best,
            _private_first(matches[exact:end]),
            _private_first(project for project in others if name in project.name),
            _private_first(project for project in others if name not in project.name),
        )
        total = len(imported) + len(matches)
        return SearchResults(total, list(islice(ordered, start, stop)))

    def _imported_by(self, declarations: Sequence[str]) -> list[ProjectFacts]:
        """Return the projects that declare any of these: private ones first, then by the order."""
        groups = {declaration: list[ProjectFacts]() for declaration in declarations}
        for project in self.projects:
            if project.imports:  # most projects declare nothing
                nearest = _first_in(declarations, project.imports)
                if nearest is not None:
                    groups[nearest].append(project)
        # a stranger may declare any name
        return list(_private_first(chain.from_iterable(groups.values())))

    def similar(self, text: str) -> list[ProjectFacts]:
        """
        Return at most SIMILAR_SHOWN projects whose names one may have meant by `text`, best first.

        They differ by a letter or two, or begin so.
        """
        wanted = fold(text)[:NAME_LIMIT]
        most = MAX_EDITS if len(wanted) >= SHORT_NAME else 1
        start, stop = _range(self.projects, wanted)
        ranks = dict.fromkeys(self.projects[start:stop] if len(wanted) >= SHORT_NAME else (), most)
        # of so many pieces one is in a name that so few edits have made, and few names have one
        count = most + 2
        cuts = [len(wanted) * cut // count for cut in range(count + 1)]
        pieces = [wanted[at:to] for at, to in pairwise(cuts)]
        shortest = len(wanted) - most
        longest = len(wanted) + most
        letters = frozenset(wanted)
        for project in self.projects:
            name = project.name
            if not (shortest <= len(name) <= longest and any(piece in name for piece in pieces)):
                continue
            if len(letters.symmetric_difference(name)) <= 2 * most:  # an edit changes two at most
                distance = edit_distance(wanted, name, most)
                if distance <= most:
                    ranks[project] = distance
        ranked = ((rank, bool(facts.origin), facts.name, facts) for facts, rank in ranks.items())
        return [facts for *_, facts in nsmallest(SIMILAR_SHOWN, ranked)]

    def latest_changes(self, count: int) -> list[ProjectFacts]:
        """Return at most `count` private projects, those with the newest commits first."""
        return nlargest(count, self.private, key=attrgetter("changed"))

    def used_by(self, name: NormalizedName) -> list[ProjectFacts]:
        """Return the projects whose latest release requires `name`, sorted."""
        required = f" {name} "
        return [project for project in self.projects if required in project.requires]

    def named(self, names: Iterable[NormalizedName]) -> Iterator[ProjectFacts]:
        """Yield those of these projects that have one of `names`, in the order of the names."""
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


def edit_distance(one: str, other: str, most: int) -> int:
    """
    Return how many letters are replaced, left out, added or swapped with the next to get `other`.

    That is the optimal string alignment distance. It is `most` + 1 if it is greater than `most`.
    """
    while one and other and one[0] == other[0]:
        one = one[1:]
        other = other[1:]
    while one and other and one[-1] == other[-1]:
        one = one[:-1]
        other = other[:-1]
    too_many = most + 1
    width = len(other) + 1
    before = [too_many] * width
    last = [min(to, too_many) for to in range(width)]
    for at, letter in enumerate(one, 1):
        row = [too_many] * width
        row[0] = min(at, too_many)
        # further away from the diagonal more letters are missing than may be
        for to in range(max(1, at - most), min(width, at + too_many)):
            cost = min(last[to] + 1, row[to - 1] + 1, last[to - 1] + (letter != other[to - 1]))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == other[to - 1]:
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
        patterns = {
            pattern
            for scope in caller.scopes
            if scope.actions & Action.READ
            for pattern in scope.projects
        }
        parts = list[ProjectFacts]()
        end = 0
        count = len(self.projects)
        # the ranges may overlap: what is before `end` was looked at already
        for start, stop in [*sorted(map(self._range, patterns)), (count, count)]:
            if has_all_public and end < start and self._has_public:
                parts += (project for project in self.projects[end:start] if project.origin)
            parts += self.projects[max(start, end) : stop]
            end = max(end, stop)
        return VisibleProjects(tuple(parts))

    def projects_of(self, caller: Caller, principals: Collection[str]) -> list[ProjectFacts]:
        """
        Return the private projects that are a caller's own, the latest upload first.

        These are the ones that a scope of the caller allows to change and does not take in with all
        others, and those that the caller may read and whose latest upload is of one of
        `principals`.
        """
        changing = [
            Scope(Action.READ, tuple(set(scope.projects) - {EVERY_PROJECT}), scope.indexes)
            for scope in caller.scopes
            if scope.actions & (Action.UPLOAD | Action.MANAGE)
        ]
        named = self.readable_by(Caller(caller.principal, tuple(changing))).private
        projects = {project.name: project for project in named}
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
        return ListedAmount(
            sum(project.bytes for project in self.projects if not project.origin),
            sum(project.files for project in self.projects if not project.origin),
        )

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
        news = {name: facts for name, facts in changes.items() if self.find(name) != facts}
        if not news:
            return self
        projects = list(self.projects)
        for name, facts in news.items():
            at = bisect_left(projects, name, key=_NAME)
            is_known = at < len(projects) and projects[at].name == name
            projects[at : at + is_known] = [] if facts is None else [facts]
        is_same = all(
            facts and self.find(name) == replace(facts, document=self.document_of(name))
            for name, facts in news.items()
        )
        generation = self.generation + (not is_same)
        return replace(self, projects=tuple(projects), generation=generation)

    def document_of(self, name: NormalizedName) -> str:
        """Return the `document` of a project's facts, or an empty text if it has none."""
        facts = self.find(name)
        return facts.document if facts else ""

    def _range(self, pattern: Pattern) -> tuple[int, int]:
        """Return where the projects begin and end that a pattern matches."""
        prefix = pattern.removesuffix("*")
        start, stop = _range(self.projects, prefix)
        if prefix != pattern:
            return start, stop
        return start, start + (self.find(NormalizedName(prefix)) is not None)


def table_of(projects: Iterable[ProjectFacts]) -> ProjectTable:
    """Return a table of these projects."""
    return ProjectTable(tuple(sorted(projects, key=_NAME)))


def _first_in(declarations: Iterable[str], imports: str) -> str | None:
    """Return the first of these declarations that is in the imports, or None."""
    return next((declaration for declaration in declarations if declaration in imports), None)


def _private_first(projects: Iterable[ProjectFacts]) -> Iterator[ProjectFacts]:
    public = list[ProjectFacts]()
    for project in projects:
        if project.origin:
            public.append(project)
        else:
            yield project
    yield from public


def _find(projects: Sequence[ProjectFacts], name: str) -> ProjectFacts | None:
    at = bisect_left(projects, name, key=_NAME)
    return projects[at] if at < len(projects) and projects[at].name == name else None


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
    return table if all(map(lt, names, names[1:])) else None


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

        threads = 1 if self.is_local or len(names) == 1 else MAX_CONCURRENT_READS
        facts = dict[NormalizedName, ProjectFacts | None]()
        for facts_of_one in prefetch_map(read, names, threads):
            facts |= facts_of_one
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
        try:
            raw = self.files.core_metadata(name, file) if file.has_metadata else b""
        except NotFound:
            raw = b""
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
        core = parse_leniently(raw, name, version)
        summary = core.summary or ""
        keywords = core.keywords or ""
        imports = core.imports.patterns
        return Description(summary, keywords, core.requires_dist, imports, core.classifiers)
