"""
Warnings of requirements that an index does not show, after a promotion or a deletion.

The requirements of a release are the Requires-Dist in the core metadata of its files, but for those
of extras and those with a URL. Conditions on machines and Pythons are not evaluated: somebody may
meet them. Only private names are looked up: those that a pattern of the settings makes private, and
those that an index lists in which the caller may read them. As for pip, a yanked version fits if
the requirement pins it, and a pre-release if nothing else does.

After a deletion, only the latest releases are asked what they require, by the tables for searches.
A warning names nothing that the caller may not read in the index that it is about. What cannot be
looked up is said in a warning, and never an error.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import Projects
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Action, Caller, NamePatterns
from wheelyard.model.decoding import counted
from wheelyard.model.project import File, Project
from wheelyard.operations.search.project_table import ProjectTable, described_in
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import (
    ProjectFacts,
    latest_release,
    releases_of,
    required_name,
)

MOST_LOOKED_UP: Final = 100
"""
The most private requirements of a promoted release that are looked up.

Also the most core metadata that are read of it, and the most projects that are read as they
require what was deleted.
"""
_QUOTED: Final = re.compile(r"""("[^"]*"|'[^']*')""")
"""What a marker (PEP 508) has in quotes."""
_EXTRA: Final = re.compile(r"\bextras?\b")
"""The variable of a marker, once what is quoted is out."""

Deleted = Mapping[NormalizedName, Sequence[File]]
"""The files of projects that are deleted, or would be."""
Change = Callable[[str, Project], Project]
"""Returns what becomes of the project that the index of a name has."""


def as_it_is(_: str, project: Project) -> Project:
    """Return the project without a change."""
    return project


class IndexReader(Struct, frozen=True, kw_only=True, dict=True):
    """
    Reads what an index has and shows, and knows what the caller may read there.

    Each method raises Unavailable if the store does not answer.
    """

    name: str
    own_packages: Projects
    """The projects that are in the index itself, and in no layer."""
    find_caller: Callable[[], Caller]
    """Returns the caller with the rights in the index."""
    find_private: Callable[[NormalizedName, Change], Project | None]
    """
    Returns a private project with the files that the index shows, or None without one.

    The change is made to what each layer has.
    """
    find_public: Callable[[NormalizedName], Sequence[ShownFile]]
    """Returns the files of a public project that it shows, as far as the store has its page."""
    shown_indexes: Callable[[], Sequence[str]]
    """Returns the names of the indexes whose own packages it shows, perhaps with its own."""
    tables: Callable[[], Sequence[ProjectTable]]
    """Returns the tables for searches of these indexes."""

    @cached_property
    def caller(self) -> Caller:
        """The caller with the rights in the index."""
        return self.find_caller()

    @cached_property
    def listed(self) -> frozenset[NormalizedName]:
        """The private names of its own packages."""
        names = self.own_packages.names.get().value
        if names is None:
            return frozenset()
        return names.as_set

    def may_read(self, name: NormalizedName) -> bool:
        """Return whether the caller may read a project in the index."""
        return self.caller.may(Action.READ, name)

    def own_files(self, name: NormalizedName) -> Sequence[File]:
        """Return the files of a project that its own packages have, or none in quarantine."""
        project = self.own_packages.load(name).value
        if project is None:
            return ()
        return project.status.served(project.files)

    def shown_files(self, name: NormalizedName) -> Sequence[ShownFile]:
        """Return the files of a project that installers get, or none in quarantine."""
        project = self.find_private(name, as_it_is)
        if project is None:
            return self.find_public(name)
        return project.status.served(project.files)

    def changed_files(self, name: NormalizedName, change: Change) -> Sequence[File]:
        """Return the files of a private project that installers would get after a change."""
        project = self.find_private(name, change)
        if project is None:
            return ()
        return project.status.served(project.files)

    @cached_property
    def facts(self) -> list[ProjectFacts]:
        """The facts in the tables for searches of the private projects that the caller may read."""
        facts = list[ProjectFacts]()
        for table in self.tables():
            facts += table.readable_by(self.caller).private
        return facts

    def requiring(self, names: Iterable[NormalizedName]) -> dict[NormalizedName, set[str]]:
        """
        Return which of these names the latest release of each project may require, sorted.

        That is said by the tables for searches. Names that the caller may not read are left out.
        """
        readable = {str(name) for name in names if self.may_read(name)}
        requiring = dict[NormalizedName, set[str]]()
        for project in self.facts:
            required = readable.intersection(project.requires.split())
            if required:
                requiring.setdefault(project.name, set()).update(required)
        return {name: requiring[name] for name in sorted(requiring)}

    def unread(self, names: Collection[NormalizedName]) -> int:
        """Return of how many projects, but those of these names, the tables know no more yet."""
        unread = {project.name for project in self.facts if not project.document}
        return len(unread.difference(names))


class RequirementCheck(Struct, frozen=True, kw_only=True):
    """Finds requirements that a promotion or a deletion leaves without a version that fits."""

    indexes: Callable[[], Mapping[str, IndexReader]]
    """Returns the indexes of the store by name."""
    files: Files
    private: NamePatterns
    """The patterns of the settings that make names private."""

    def of_promotion(
        self, source: str, target: str, name: NormalizedName, files: Sequence[File]
    ) -> tuple[str, ...]:
        """
        Return a warning of each private requirement of a promoted release that the target lacks.

        `files` are those of the release, at least one. The target lacks what it does not show.
        """
        release = f"{name} {files[0].version}"
        try:
            return tuple(self._unmet(source, target, name, release, files))
        except (WheelyardError, ValueError, TypeError):
            shows = f"{target} shows what {release} requires"
            return (f"Nobody knows whether {shows}: it could not be looked up.",)

    def of_deletion(self, index: str, deleted: Deleted) -> tuple[str, ...]:
        """
        Return a warning of each release that a deletion in an index leaves without a requirement.

        These are releases of the index, and of others that show it as a layer. The deletion may
        have been made already, or not yet.
        """
        if not any(deleted.values()):
            return ()
        try:
            return tuple(self._orphaned(_Deletion(index, deleted)))
        except (WheelyardError, ValueError, TypeError):
            what = f"what is deleted in {index}"
            return (f"Nobody knows which releases require {what}: it could not be looked up.",)

    def _unmet(
        self, source: str, target: str, name: NormalizedName, release: str, files: Sequence[File]
    ) -> Iterator[str]:
        """Yield a warning of each requirement that the target does not show."""
        texts = self._requirements(name, files)
        if not texts:
            return
        indexes = self.indexes()
        target_index = indexes[target]
        # the source first: what the release was tested with is most probably there
        sources = [index for index in _first(indexes, source) if index is not target_index]
        private = self._private_names(texts, indexes.values()) - {name}
        required = _parse_all(texts, private)
        for requirement in required[:MOST_LOOKED_UP]:
            # who may not read it in the target is told nothing of what is there
            if not target_index.may_read(requirement.name):
                continue
            if not requirement.fitting(target_index.shown_files(requirement.name)):
                yield f"{release} requires {_where_it_is(requirement, target_index, sources)}"
        if len(required) > MOST_LOOKED_UP:
            rest = len(required) - MOST_LOOKED_UP
            yield f"{release} has {rest} more requirements, which were not looked up."

    def _orphaned(self, deletion: "_Deletion") -> Iterator[str]:
        """Yield a warning of each requirement that is left without a version."""
        indexes = _first(self.indexes(), deletion.index)
        readers = [reader for reader in indexes if deletion.index in reader.shown_indexes()]
        requiring = list[tuple[IndexReader, NormalizedName, set[str]]]()
        for reader in readers:
            for name, required in reader.requiring(deletion.files).items():
                requiring.append((reader, name, required))
        for reader, name, required in requiring[:MOST_LOOKED_UP]:
            yield from self._orphaned_in(reader, name, required, deletion)
        if len(requiring) > MOST_LOOKED_UP:
            rest = len(requiring) - MOST_LOOKED_UP
            yield f"{rest} more projects require what is deleted, and were not looked up."
        unread = max((reader.unread(deletion.files) for reader in readers), default=0)
        if unread:
            projects = counted(unread, "project")
            yield f"{projects} may require it, too: the table for searches is not complete yet."

    def _orphaned_in(
        self, reader: IndexReader, name: NormalizedName, required: set[str], deletion: "_Deletion"
    ) -> Iterator[str]:
        """Yield a warning of each requirement of the latest release of a project in an index."""
        project = reader.find_private(name, deletion.after)
        if project is None:
            return
        latest = latest_release(releases_of(project))
        if latest is None:
            return
        place = reader.name
        for requirement in _parse_all(self._requirements(name, latest.files), required):
            before = reader.changed_files(requirement.name, deletion.before)
            after = reader.changed_files(requirement.name, deletion.after)
            if requirement.fitting(before) and not requirement.fitting(after):
                yield f"After this, {name} {latest.version} has no {requirement} in {place}."

    def _requirements(self, name: NormalizedName, files: Iterable[File]) -> list[str]:
        """Return what the core metadata of these files require, each text once."""
        # wheels of a release often have the same metadata, which are read once
        file_by_metadata = {file.core_metadata: file for file in files if file.has_metadata}
        texts = dict[str, None]()
        for file in islice(file_by_metadata.values(), MOST_LOOKED_UP):
            raw = self.files.core_metadata(name, file)
            texts |= dict.fromkeys(described_in(raw, name, file.version).requirements)
        return list(texts)

    def _private_names(self, texts: Iterable[str], indexes: Iterable[IndexReader]) -> set[str]:
        """Return the names in these requirements that the caller may know to be private."""
        names = {NormalizedName(required_name(text)) for text in texts}
        private = {str(name) for name in names if self.private.match(name)}
        # a name that the caller may not read in any index is not told to be private in one
        for index in indexes:
            private |= {name for name in index.listed & names if index.may_read(name)}
        return private


class _Deletion(Struct, frozen=True):
    """A deletion in an index, which was made or would be."""

    index: str
    files: Deleted

    def before(self, index: str, project: Project) -> Project:
        """Return a project of an index as it is before the deletion."""
        # after a deletion the document lacks the files, which are put back here
        files = self._deleted_from(index, project) | project.by_filename
        return replace(project, files=tuple(files.values()))

    def after(self, index: str, project: Project) -> Project:
        """Return a project of an index as it is after the deletion."""
        deleted = self._deleted_from(index, project)
        files = tuple(file for file in project.files if file.filename not in deleted)
        filenames = deleted.keys() | set(project.deleted_filenames)
        return replace(project, files=files, deleted_filenames=tuple(filenames))

    def _deleted_from(self, index: str, project: Project) -> dict[str, File]:
        """Return the files that are deleted of a project of an index, by name."""
        if index != self.index:
            return {}
        return {file.filename: file for file in self.files.get(project.name, ())}


class _Requirement(Struct, frozen=True):
    """A requirement of versions of a project."""

    name: NormalizedName
    specifier: SpecifierSet

    def __str__(self) -> str:
        """Return it as metadata have it, without extras and conditions."""
        return self.name + ",".join(sorted(map(str, self.specifier), reverse=True))

    def fitting(self, files: Iterable[ShownFile]) -> list[Version]:
        """Return the versions of these files that fit, sorted."""
        offered = (file for file in files if file.yanked is None or self._is_pin)
        return sorted(self.specifier.filter({Version(file.version) for file in offered}))

    @property
    def _is_pin(self) -> bool:
        """Whether it allows one version only, which installers take also if it is yanked."""
        for specifier in self.specifier:
            if specifier.operator == "===":
                return True
            if specifier.operator == "==" and not specifier.version.endswith(".*"):
                return True
        return False


def _parse_all(texts: Iterable[str], names: Collection[str]) -> list[_Requirement]:
    """Return the requirements of projects of these names, but those of extras and with a URL."""
    required = dict[str, _Requirement]()
    for text in texts:
        # to parse a text takes longer than to read the name at its beginning
        if required_name(text) in names:
            requirement = _parse(text)
            if requirement is not None:
                required[str(requirement)] = requirement
    return list(required.values())


def _parse(text: str) -> _Requirement | None:
    """Return a requirement, or None if it is of an extra, has a URL, or is malformed."""
    try:
        parsed = Requirement(text)
        marker = str(parsed.marker or "")
    except (InvalidRequirement, RecursionError):
        # a stranger has written it: brackets may be nested as deep as the text is long
        return None
    if parsed.url or _EXTRA.search(_QUOTED.sub("", marker)):
        return None
    return _Requirement(canonicalize_name(parsed.name), parsed.specifier)


def _where_it_is(
    requirement: _Requirement, target: IndexReader, sources: Iterable[IndexReader]
) -> str:
    """Return a requirement that an index does not show, and where a version is that fits."""
    fact = f"{requirement}, which {target.name} does not show"
    hidden = requirement.fitting(target.own_files(requirement.name))
    if hidden:
        return f"{fact}: its layers hide the {requirement.name} {hidden[-1]} that it has."
    for index in sources:
        if not index.may_read(requirement.name):
            continue
        fitting = requirement.fitting(index.own_files(requirement.name))
        if fitting:
            has = f"The index {index.name} has {requirement.name} {fitting[-1]}."
            return f"{fact}: promote it, too. {has}"
    return f"{fact}. No index that you may read has it."


def _first(indexes: Mapping[str, IndexReader], name: str) -> list[IndexReader]:
    """Return the indexes, that of the name first."""
    return sorted(indexes.values(), key=lambda index: index.name != name)
