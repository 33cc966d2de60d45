"""What finds requirements that indexes of a store do not show, for a caller."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from packaging.utils import NormalizedName

from wheelyard.model.access import EVERY_PROJECT, Caller, parse_name_patterns
from wheelyard.model.project import Project
from wheelyard.operations.requirements import Change, IndexReader, RequirementCheck
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.listing import ShownFile
from wheelyard.repository.layers import merged_project
from wheelyard.wiring.index import Index
from wheelyard.wiring.server import Server


def requirement_check(server: Server, caller_in: Callable[[Index], Caller]) -> RequirementCheck:
    """Return what finds them, for who is this caller in each index of the store."""
    # a pattern that matches every name says of none that it is private
    patterns = [text for text in server.settings.upstream_private if text != EVERY_PROJECT]
    return RequirementCheck(
        indexes=partial(_readers, server, caller_in),
        files=server.catalog.files,
        private=parse_name_patterns(patterns),
    )


def _readers(server: Server, caller_in: Callable[[Index], Caller]) -> Mapping[str, IndexReader]:
    return {
        other.name: IndexReader(
            name=other.name,
            own_packages=other.projects,
            find_caller=partial(caller_in, other),
            find_private=partial(_private, other),
            find_public=partial(_public, other),
            shown_indexes=partial(_shown_indexes, other),
            tables=partial(_tables, other),
        )
        for other in server.indexes.all()
    }


def _private(index: Index, name: NormalizedName, change: Change) -> Project | None:
    answer = index.repository.find(name)
    projects = [change(source.index, source.project) for source in answer.projects]
    if not projects:
        return None
    return merged_project(projects)


def _public(index: Index, name: NormalizedName) -> Sequence[ShownFile]:
    if index.upstream is None or not index.may_be_public(name):
        return ()
    shown = index.repository.filtered(index.upstream.read_stored(name))
    if not shown:
        return ()
    # no command without an upstream index needs it
    from wheelyard.upstream.merged_listing import merged_listing  # noqa: PLC0415 - see above

    return merged_listing(shown).files


def _shown_indexes(index: Index) -> Sequence[str]:
    return [own.name for own in index.repository.own_packages()]


def _tables(index: Index) -> Sequence[ProjectTable]:
    return [own.search.table() for own in index.repository.own_packages()]
