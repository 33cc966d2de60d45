"""The journals of a server."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from packaging.utils import NormalizedName

from wheelyard.api_client.answers import JournalPage, NamesAnswer
from wheelyard.api_client.connection import ApiConnection
from wheelyard.model.project import Commit
from wheelyard.operations.journal import BEGINNING


@dataclass(slots=True)
class RemoteJournals:
    """The journals of a server: those of all projects, or that of the project `only`."""

    connection: ApiConnection
    name_of: Callable[[str], str]
    """Returns the name of the API token that is a principal, or an empty text."""
    only: NormalizedName | None = None
    _looked_at: datetime = field(default=BEGINNING, init=False)

    def changed(self, since: datetime) -> Sequence[NormalizedName]:
        """Return the projects that may have changed since that time, and since the last call."""
        if self.only is not None:
            return (self.only,)
        moment = max(since, self._looked_at)
        looked_at = self.connection.runtime.now()
        # with a time the server looks at the documents, of which released names have one, too
        query = f"changed-since={quote(moment.isoformat())}"
        found = self.connection.send("GET", f"projects?{query}", NamesAnswer)
        self._looked_at = looked_at
        return [each.name for each in found.projects]

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, Commit | None]]:
        """Yield the commits of a project, newest first: the oldest page, then pages backwards."""
        first = self._page(name, after)
        size, end = max(first.end - after, 1), first.revision
        while end > first.end:
            begin = max(end - size, first.end)
            yield from self._page(name, begin).newest_first(begin, end)
            end = begin
        yield from first.newest_first(after, first.end)

    def _page(self, name: NormalizedName, after: int) -> JournalPage:
        return self.connection.send("GET", f"projects/{name}/journal?after={after}", JournalPage)
