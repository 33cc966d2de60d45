"""
Warnings of requirements that an index does not show, after a promotion or a deletion.

The requirements of a release are the Requires-Dist in the core metadata of its files, but for those
of extras and those with a URL. Markers about machines and Pythons are not evaluated, as somebody
may have such a machine. Only private names are looked up: names that a pattern of the settings
makes private, and names of an index in which the caller may read them. As for pip, a yanked version
fits if the requirement pins it, and a pre-release if no other version fits.

After a deletion, only the requirements of the latest releases are looked up, by the search tables.
A warning names nothing that the caller may not read in the index that the warning is about. A
failed look-up gives a warning, and never an error.
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

The same limit holds for the files of a release whose core metadata are read, and for the projects
that are read because they require what was deleted.
"""
_QUOTED: Final = re.compile(r"""("[^"]*"|'[^']*')""")
"""A string in a marker (PEP 508)."""
_EXTRA: Final = re.compile(r"\bextras?\b")
"""The variables of a marker that are about extras, in a marker without its strings."""

Deleted = Mapping[NormalizedName, Sequence[File]]
"""The files of projects that are deleted, or would be."""
Change = Callable[[str, Project], Project]
"""Returns what a project of the index with a name is after a change."""


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

    The change is made to the project of each layer.
    """
    find_public: Callable[[NormalizedName], Sequence[ShownFile]]
    """Returns the files of a public project that the index shows, by the stored page of it."""
    shown_indexes: Callable[[], Sequence[str]]
    """Returns the names of the indexes whose own packages the index shows."""
    tables: Callable[[], Sequence[ProjectTable]]
    """Returns the search tables of these indexes."""

    @cached_property
    def caller(self) -> Caller:
        """The caller with the rights in the index."""
        return self.find_caller()

    @cached_property
    def own_names(self) -> frozenset[NormalizedName]:
        """The private names of the index's own packages."""
        names = self.own_packages.names.get().value
        if names is None:
            return frozenset()
        return names.as_set

    def may_read(self, name: NormalizedName) -> bool:
        """Return whether the caller may read a project in the index."""
        return self.caller.may(Action.READ, name)

    def own_files(self, name: NormalizedName) -> Sequence[File]:
        """Return the files of a project in the index itself, or none in quarantine."""
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
        """The facts about the private projects that the caller may read, by the search tables."""
        facts = list[ProjectFacts]()
        for table in self.tables():
            facts += table.readable_by(self.caller).private
        return facts

    def requiring(self, names: Iterable[NormalizedName]) -> dict[NormalizedName, set[str]]:
        """
        Return the projects that may require some of these names, with the names that they require.

        The search tables know the requirements of the latest release of each project. The projects
        are sorted. Names that the caller may not read are left out.
        """
        readable = {str(name) for name in names if self.may_read(name)}
        required_by_project = dict[NormalizedName, set[str]]()
        for project in self.facts:
            required_names = readable.intersection(project.requires.split())
            if required_names:
                required_by_project.setdefault(project.name, set()).update(required_names)
        return {name: required_by_project[name] for name in sorted(required_by_project)}

    def count_unread(self, names: Collection[NormalizedName]) -> int:
        """
        Return of how many projects the search tables do not know the requirements yet.

        Projects of these names do not count.
        """
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

        The target lacks a requirement if it shows no version that fits. `files` are the files of
        the release, at least one.
        """
        release = f"{name} {files[0].version}"
        try:
            return tuple(self._unmet(source, target, name, release, files))
        except (WheelyardError, ValueError, TypeError):
            fact = f"Nobody knows whether {target} shows what {release} requires"
            return (f"{fact}: it could not be looked up.",)

    def of_deletion(self, index: str, deleted: Deleted) -> tuple[str, ...]:
        """
        Return a warning of each requirement that a deletion in an index leaves without a version.

        These are requirements of releases in the index, and in others that show it as a layer. The
        deletion may have been made already, or not yet.
        """
        has_files = any(deleted.values())
        if not has_files:
            return ()
        try:
            return tuple(self._orphaned(_Deletion(index, deleted)))
        except (WheelyardError, ValueError, TypeError):
            fact = f"Nobody knows which releases require what is deleted in {index}"
            return (f"{fact}: it could not be looked up.",)

    def _unmet(
        self, source: str, target: str, name: NormalizedName, release: str, files: Sequence[File]
    ) -> Iterator[str]:
        """Yield a warning of each requirement that the target does not show."""
        texts = self._requirements(name, files)
        if not texts:
            return
        indexes = self.indexes()
        target_index = indexes[target]
        # the source first: the versions that the release was tested with are most probably there
        indexes_in_order = _with_first(indexes, source)
        other_indexes = [index for index in indexes_in_order if index is not target_index]
        private_names = self._private_names(texts, indexes.values()) - {name}
        requirements = _parse_all(texts, private_names)
        for requirement in requirements[:MOST_LOOKED_UP]:
            # a caller who may not read the project in the target learns nothing of it
            if not target_index.may_read(requirement.name):
                continue
            if not requirement.fitting(target_index.shown_files(requirement.name)):
                unmet = _describe_unmet(requirement, target_index, other_indexes)
                yield f"{release} requires {unmet}"
        if len(requirements) > MOST_LOOKED_UP:
            left_out = len(requirements) - MOST_LOOKED_UP
            yield f"{release} has {left_out} more requirements, which were not looked up."

    def _orphaned(self, deletion: "_Deletion") -> Iterator[str]:
        """Yield a warning of each requirement that a deletion leaves without a version."""
        indexes = _with_first(self.indexes(), deletion.index)
        readers = [reader for reader in indexes if deletion.index in reader.shown_indexes()]
        requiring = list[tuple[IndexReader, NormalizedName, set[str]]]()
        for reader in readers:
            for name, required_names in reader.requiring(deletion.files).items():
                requiring.append((reader, name, required_names))
        for reader, name, required_names in requiring[:MOST_LOOKED_UP]:
            yield from self._orphaned_in(reader, name, required_names, deletion)
        if len(requiring) > MOST_LOOKED_UP:
            left_out = len(requiring) - MOST_LOOKED_UP
            yield f"{left_out} more projects require what is deleted, and were not looked up."
        unread = max((reader.count_unread(deletion.files) for reader in readers), default=0)
        if unread:
            projects = counted(unread, "project")
            yield f"{projects} may require it, too: the table for searches is not complete yet."

    def _orphaned_in(
        self,
        reader: IndexReader,
        name: NormalizedName,
        required_names: set[str],
        deletion: "_Deletion",
    ) -> Iterator[str]:
        """
        Yield a warning of each requirement that a project in an index has no version for any more.

        Only the requirements of its latest release, of projects of these names, are looked up.
        """
        project = reader.find_private(name, deletion.after)
        if project is None:
            return
        latest = latest_release(releases_of(project))
        if latest is None:
            return
        release = f"{name} {latest.version}"
        texts = self._requirements(name, latest.files)
        for requirement in _parse_all(texts, required_names):
            files_before = reader.changed_files(requirement.name, deletion.before)
            files_after = reader.changed_files(requirement.name, deletion.after)
            if requirement.fitting(files_before) and not requirement.fitting(files_after):
                yield f"After this, {release} has no {requirement} in {reader.name}."

    def _requirements(self, name: NormalizedName, files: Iterable[File]) -> list[str]:
        """Return the requirements in the core metadata of these files, each text once."""
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
        # an index tells only callers who may read the name there that the name is private
        for index in indexes:
            for name in index.own_names & names:
                if index.may_read(name):
                    private.add(str(name))
        return private


class _Deletion(Struct, frozen=True):
    """A deletion in an index, which was made already, or is to be made."""

    index: str
    """The name of the index."""
    files: Deleted

    def before(self, index: str, project: Project) -> Project:
        """Return a project of an index as it is before the deletion."""
        # if the deletion was made already, the document lacks the files, which are put back here
        files = self._deleted_from(index, project) | project.by_filename
        return replace(project, files=tuple(files.values()))

    def after(self, index: str, project: Project) -> Project:
        """Return a project of an index as it is after the deletion."""
        deleted = self._deleted_from(index, project)
        files = tuple(file for file in project.files if file.filename not in deleted)
        filenames = deleted.keys() | set(project.deleted_filenames)
        return replace(project, files=files, deleted_filenames=tuple(filenames))

    def _deleted_from(self, index: str, project: Project) -> dict[str, File]:
        """Return the files that are deleted of a project of an index, by filename."""
        if index != self.index:
            return {}
        return {file.filename: file for file in self.files.get(project.name, ())}


class _Requirement(Struct, frozen=True):
    """A requirement of versions of a project."""

    name: NormalizedName
    specifier: SpecifierSet

    def __str__(self) -> str:
        """Return the requirement as metadata have it, without extras and markers."""
        # lower bounds before upper bounds, as people write them
        specifiers = sorted(map(str, self.specifier), reverse=True)
        return self.name + ",".join(specifiers)

    def fitting(self, files: Iterable[ShownFile]) -> list[Version]:
        """Return the versions of these files that fit, sorted."""
        versions = set[Version]()
        for file in files:
            if file.yanked is None or self._is_pin:
                versions.add(Version(file.version))
        return sorted(self.specifier.filter(versions))

    @property
    def _is_pin(self) -> bool:
        """Whether one version alone fits, which installers take also if it is yanked."""
        for specifier in self.specifier:
            if specifier.operator == "===":
                return True
            if specifier.operator == "==" and not specifier.version.endswith(".*"):
                return True
        return False


def _parse_all(texts: Iterable[str], names: Collection[str]) -> list[_Requirement]:
    """Return the requirements of projects of these names, but those of extras and with a URL."""
    requirement_by_text = dict[str, _Requirement]()
    for text in texts:
        # to parse a text takes longer than to read the name at its beginning
        if required_name(text) in names:
            requirement = _parse(text)
            if requirement is not None:
                requirement_by_text[str(requirement)] = requirement
    return list(requirement_by_text.values())


def _parse(text: str) -> _Requirement | None:
    """Parse a requirement. Return None if it is for an extra, has a URL, or is malformed."""
    try:
        parsed = Requirement(text)
        marker = str(parsed.marker or "")
    except (InvalidRequirement, RecursionError):
        # a stranger has written the text: brackets may be nested as deep as it is long
        return None
    marker_without_strings = _QUOTED.sub("", marker)
    if parsed.url or _EXTRA.search(marker_without_strings):
        return None
    return _Requirement(canonicalize_name(parsed.name), parsed.specifier)


def _describe_unmet(
    requirement: _Requirement, target: IndexReader, other_indexes: Iterable[IndexReader]
) -> str:
    """Describe a requirement that an index does not show, and which index has a version for it."""
    fact = f"{requirement}, which {target.name} does not show"
    hidden_versions = requirement.fitting(target.own_files(requirement.name))
    if hidden_versions:
        newest = f"{requirement.name} {hidden_versions[-1]}"
        return f"{fact}: its layers hide the {newest} that it has."
    for index in other_indexes:
        if not index.may_read(requirement.name):
            continue
        fitting = requirement.fitting(index.own_files(requirement.name))
        if fitting:
            newest = f"{requirement.name} {fitting[-1]}"
            return f"{fact}: promote it, too. The index {index.name} has {newest}."
    return f"{fact}. No index that you may read has it."


def _with_first(indexes: Mapping[str, IndexReader], first_name: str) -> list[IndexReader]:
    """Return all indexes, and the index with this name as the first one."""
    return sorted(indexes.values(), key=lambda index: index.name != first_name)
