"""Which projects the settings of a client have to name: some, and all private ones they need."""

from collections.abc import Collection, Sequence

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import damaged
from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import Projects, unknown_project
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import NotFound
from wheelyard.model.access import Action, Caller, Pattern, matches_any
from wheelyard.model.project import File
from wheelyard.operations.search.facts_reader import MAX_CONCURRENT_READS, described_in
from wheelyard.rendering.project_facts import required_name


class ClientProjects(Struct, frozen=True):
    """What the settings of a client say about the projects of an index."""

    serves_public: bool
    """Whether public packages come from this index, too; then no project has to be named."""
    projects: tuple[NormalizedName, ...] = ()
    """The wanted projects, and then all private ones that these need, also indirectly."""


class ClientProjectsReader(Struct, frozen=True):
    """Finds the private projects that a client must look up in this index alone."""

    projects: Projects
    files: Files
    private_patterns: Sequence[Pattern]
    """Those of `[access] private_names`."""
    is_local: bool
    has_upstream: bool

    def read(self, caller: Caller, wanted: Collection[NormalizedName]) -> ClientProjects:
        """
        Return what the settings of a client have to say, if it wants these projects.

        All files count, whatever their version, and so do all extras and markers. A required name
        is private if it is in the list of names, or a pattern of the settings matches it. What the
        caller may not read is left out. Raises NotFound if a wanted project does not exist or may
        not be read, and Unavailable if not everything can be read.
        """
        if self.has_upstream:
            return ClientProjects(serves_public=True)
        for name in wanted:
            if not caller.may(Action.READ, name):
                raise unknown_project(name)
            self.projects.get(name)
        named = dict.fromkeys(wanted)
        level = list(named)
        while level:
            required = self._required_by(level) - named.keys()
            readable = [name for name in sorted(required) if caller.may(Action.READ, name)]
            level = [name for name in readable if self._is_private(name)]
            named |= dict.fromkeys(level)
        return ClientProjects(serves_public=False, projects=tuple(named))

    def _is_private(self, name: NormalizedName) -> bool:
        return (
            matches_any(self.private_patterns, name) or self.projects.load(name).value is not None
        )

    def _required_by(self, names: Sequence[NormalizedName]) -> set[NormalizedName]:
        """Return the names that the core metadata of any file of these projects require."""
        threads = 1 if self.is_local else MAX_CONCURRENT_READS
        files = list[tuple[NormalizedName, File]]()
        for project in prefetch_map(lambda name: self.projects.load(name).value, names, threads):
            if project is not None:  # None: a pattern matches the name, and nothing is there yet
                one_of_each = {file.core_metadata: file for file in project.files}
                files += [(project.name, file) for file in one_of_each.values()]
        required = set[NormalizedName]()
        for requirements in prefetch_map(lambda entry: self._requirements(*entry), files, threads):
            required |= {NormalizedName(required_name(text)) for text in requirements}
        return required - {""}

    def _requirements(self, name: NormalizedName, file: File) -> Sequence[str]:
        if not file.has_metadata:
            return ()
        try:
            raw = self.files.core_metadata(name, file)
        except NotFound as fault:
            # not NotFound: what is not read might need another private project
            message = f"The core metadata of {file.filename} are lost. Run 'wheelyard check'."
            raise damaged(message) from fault
        return described_in(raw, name, file.version).requirements
