"""Operations on the index of a server: the values and errors are those of `table.py`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from inspect import signature
from pathlib import Path
from threading import Lock
from typing import Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

from msgspec import to_builtins
from msgspec.structs import fields
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api.access_operations import TokenAnswer, list_tokens
from wheelyard.api.operation import Call
from wheelyard.api.project_operations import (
    After,
    JournalPage,
    ProjectsQuery,
    get_journal,
    list_projects,
)
from wheelyard.api.table import ROWS
from wheelyard.api_client import ApiConnection, open_form
from wheelyard.model.project_json import CommitJson
from wheelyard.operations.journal_reader import BEGINNING, JournalSource
from wheelyard.operations.uploads import PublishedFile

P = ParamSpec("P")
T = TypeVar("T")


class RemoteApi:
    """The index of a server, which threads may share."""

    is_local: Final = False
    """Each read is a request."""
    concurrent_uploads: Final = 4
    """The server shares its places for uploads between its callers."""

    def __init__(self, connection: ApiConnection, server: ApiConnection | None = None) -> None:
        self.connection = connection
        self._server = server or connection
        """What is about the whole server is asked for at its root, and not below an index."""
        self._tokens: dict[str, TokenAnswer] | None = None
        self._lock = Lock()

    @property
    def url(self) -> str:
        """The root URL of the server, without a slash at its end."""
        return self.connection.server.redacted.rstrip("/")

    def call(
        self, operation: Callable[Concatenate[Call, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Have the server do an operation.

        Raises what the function raises, Unavailable if the server does not answer, and Invalid if
        the answer is not that of a wheelyard server.
        """
        row, values = ROWS[operation], signature(operation).bind(None, *args, **kwargs).arguments
        body = values.pop("body", None)
        path = row.path.format_map(
            {name: quote(str(value), safe="") for name, value in values.items()}
        )
        if row.method == "GET" and body is not None:
            # an empty text may be a value, where another one is the default
            defaults = {field.encode_name: field.default for field in fields(type(body))}
            given = [
                (name, value)
                for name, value in to_builtins(body).items()
                if value is not None and (value != "" or defaults[name] != "")
            ]
            path, body = f"{path}?{urlencode(given)}".removesuffix("?"), None
        connection = self.connection if row.is_of_index else self._server
        answer: T = connection.send(row.method, path, row.answer, body, repeats=row.repeats)
        return answer

    def provenance(self, name: NormalizedName, version: Version, filename: str) -> bytes:
        """
        Return the provenance of a file, also of a public one.

        Raises as `call`.
        """
        segments = ("integrity", name, str(version), filename, "provenance")
        return self.connection.fetch("/".join(quote(text, safe="") for text in segments))

    def name_of(self, principal: str) -> str:
        """
        Return the name of the API token that is this principal, or an empty text.

        It is also empty if the caller may not know it. Raises as `call`.
        """
        token = self._token_of(principal)
        return token.name if token else ""

    def owner_of(self, principal: str) -> str:
        """Return the owner of the API token that is this principal, as `name_of`."""
        token = self._token_of(principal)
        return (token.owner or "") if token else ""

    def _token_of(self, principal: str) -> TokenAnswer | None:
        if not principal.startswith("token:"):
            return None
        with self._lock:  # one request, however many threads want a token
            if self._tokens is None:
                tokens = self.call(list_tokens).tokens if self.connection.has_credential else ()
                self._tokens = {f"token:{token.id}": token for token in tokens}
            return self._tokens.get(principal)

    def journals(self, only: NormalizedName | None) -> JournalSource:
        """Return the journals of all projects, or that of one."""
        return RemoteJournals(self, only)

    def upload(
        self, path: Path, progress: Callable[[int], None], attestations: str = ""
    ) -> PublishedFile:
        """
        Upload a file with the JSON of its attestations.

        `progress` is called with the size of each chunk. Raises as `call`, and Invalid if the file
        cannot be read, or changes meanwhile.
        """
        form = open_form(path, self.connection.runtime.new_id(), progress, attestations)
        return self.connection.upload(form, PublishedFile)


@dataclass(slots=True)
class RemoteJournals:
    """The journals of a server: those of all projects, or that of the project `only`."""

    api: RemoteApi
    only: NormalizedName | None = None
    _looked_at: datetime = field(default=BEGINNING, init=False)

    def changed(self, since: datetime) -> tuple[Sequence[NormalizedName], list[str]]:
        """
        Return the projects that may have changed since that time, and since the last call.

        There are never problems with the list. Raises as `RemoteApi.call`.
        """
        if self.only is not None:
            return (self.only,), []
        moment = max(since, self._looked_at)
        looked_at = self.api.connection.runtime.now()
        # with a time the server looks at the documents, of which released names have one, too
        listed = self.api.call(list_projects, ProjectsQuery(moment))
        self._looked_at = looked_at  # only after an answer: else a change could be missed
        return [project.name for project in listed.projects], []

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, CommitJson | None]]:
        """
        Yield a project's commits with their numbers, newest first, down to the one behind `after`.

        None is a commit that the journal has lost. The oldest page is requested first, as it has
        the number of the last commit. Raises as `RemoteApi.call`: NotFound if the project is
        unknown, Unavailable if the server does not answer.
        """
        first = self.api.call(get_journal, name, After(after))
        first_end, end = first.next or first.revision, first.revision
        size = max(first_end - after, 1)
        while end > first_end:
            begin = max(end - size, first_end)
            yield from _newest_first(self.api.call(get_journal, name, After(begin)), begin, end)
            end = begin
        yield from _newest_first(first, after, first_end)

    def name_of(self, principal: str) -> str:
        """Return as `RemoteApi.name_of`."""
        return self.api.name_of(principal)

    def owner_of(self, principal: str) -> str:
        """Return as `RemoteApi.owner_of`."""
        return self.api.owner_of(principal)


def _newest_first(
    page: JournalPage, after: int, end: int
) -> Iterator[tuple[int, CommitJson | None]]:
    """Yield the commits `after + 1` to `end` with their numbers, and None for a lost one."""
    commits = {commit.number: commit for commit in page.commits}
    for number in range(end, after, -1):
        yield number, commits.get(number)
