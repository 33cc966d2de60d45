"""Builds the check of requirements, which reads all indexes of a store for a caller."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from packaging.utils import NormalizedName

from wheelyard.catalog.files import Files
from wheelyard.model.access import EVERY_PROJECT, Caller, parse_name_patterns
from wheelyard.model.project import Project
from wheelyard.operations.requirements import Change, IndexReader, RequirementCheck
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.listing import ShownFile
from wheelyard.repository.layers import merged_project
from wheelyard.settings.sections import Settings
from wheelyard.wiring.built_index import BuiltIndex, IndexT


def requirement_check(
    indexes: Callable[[], Iterable[IndexT]],
    caller_in: Callable[[IndexT], Caller],
    files: Files,
    settings: Settings,
) -> RequirementCheck:
    """
    Return the check that finds requirements which a promotion or a deletion leaves unmet.

    `indexes` returns all indexes of the store, and is called for each check. `caller_in` returns
    the caller with the rights in an index, and is called when that index is read. `files` has the
    metadata of releases, and `settings` the patterns of private names.
    """
    # a pattern that matches every name does not tell private names from public ones
    patterns = [text for text in settings.upstream_private if text != EVERY_PROJECT]
    return RequirementCheck(
        indexes=partial(_readers, indexes, caller_in),
        files=files,
        private=parse_name_patterns(patterns),
    )


def _readers(
    indexes: Callable[[], Iterable[IndexT]], caller_in: Callable[[IndexT], Caller]
) -> Mapping[str, IndexReader]:
    """Return the readers of all indexes, by name."""
    readers = dict[str, IndexReader]()
    for index in indexes():
        # functions, as most checks read one index, and need nothing of the others
        readers[index.name] = IndexReader(
            name=index.name,
            own_packages=index.projects,
            find_caller=partial(caller_in, index),
            find_private=partial(_find_private, index),
            find_public=partial(_find_public, index),
            shown_indexes=partial(_shown_indexes, index),
            tables=partial(_tables, index),
        )
    return readers


def _find_private(index: BuiltIndex, name: NormalizedName, change: Change) -> Project | None:
    """
    Return a private project as an index shows it after a change.

    None means that the index shows no private project of this name.
    """
    found_project = index.repository.find(name)
    changed_projects = [change(source.index, source.project) for source in found_project.projects]
    if not changed_projects:
        return None
    return merged_project(changed_projects)


def _find_public(index: BuiltIndex, name: NormalizedName) -> Sequence[ShownFile]:
    """Return the files of a public project that an index shows, by the pages in the store."""
    if index.upstream is None or not index.may_be_public(name):
        return ()
    # from the store alone: a change of a private release waits for no upstream index
    stored_pages = index.upstream.read_stored(name)
    pages = index.repository.filter_public(stored_pages)
    if not pages:
        return ()
    # no command without an upstream index needs it
    from wheelyard.upstream.merged_listing import merged_listing  # noqa: PLC0415 - see above

    return merged_listing(pages).files


def _shown_indexes(index: BuiltIndex) -> Sequence[str]:
    """Return the names of the indexes whose own packages an index shows."""
    return [layer.name for layer in index.repository.own_packages()]


def _tables(index: BuiltIndex) -> Sequence[ProjectTable]:
    """Return the search tables of the indexes whose own packages an index shows."""
    return [layer.search.table() for layer in index.repository.own_packages()]
