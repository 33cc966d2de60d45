"""Operations on the index of a server: the values and errors are those of `table.py`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from inspect import signature
from pathlib import Path
from threading import Lock
from typing import Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

from msgspec import Struct, to_builtins
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

        Raises what the function raises, Unavailable if the server does not answer, and Invalid
        (code `no_index`) if the answer is not that of a wheelyard server.
        """
        row = ROWS[operation]
        # bound to the function, so that names and defaults are those of a call on a store
        arguments = signature(operation).bind(None, *args, **kwargs).arguments
        body = arguments.pop("body", None)
        segments = {name: quote(str(value), safe="") for name, value in arguments.items()}
        path = row.path.format_map(segments)
        if row.method == "GET" and body is not None:
            path = f"{path}?{_query_of(body)}".removesuffix("?")
            body = None
        # below an index a server has only the routes about packages
        connection = self.connection if row.is_of_index else self._server
        answer: T = connection.send(row.method, path, row.answer, body, repeats=row.repeats)
        return answer

    def provenance(self, name: NormalizedName, version: Version, filename: str) -> bytes:
        """
        Return the provenance of a file, also of a public one.

        Raises NotFound if the file has none that the caller may read. Raises Unauthenticated or
        Forbidden if the caller may not ask for the project, and Unavailable if the server does not
        answer.
        """
        segments = ("integrity", name, str(version), filename, "provenance")
        path = "/".join(quote(segment, safe="") for segment in segments)
        return self.connection.fetch(path)

    def name_of(self, principal: str) -> str:
        """
        Return the name of the API token that is this principal, or an empty text.

        It is also empty if the caller may not know it. The list of tokens is requested once. Raises
        Unauthenticated if the server refuses the credential, and Unavailable if it does not answer.
        Raises Invalid (code `no_index`) if it is no server of wheelyard.
        """
        token = self._token_of(principal)
        if token is None:
            return ""
        return token.name

    def owner_of(self, principal: str) -> str:
        """
        Return the owner of the API token that is this principal, or an empty text.

        It is also empty if the caller may not know it, or nobody owns the token. The list of tokens
        is requested once. Raises Unauthenticated if the server refuses the credential, and
        Unavailable if it does not answer. Raises Invalid (code `no_index`) if it is no server of
        wheelyard.
        """
        token = self._token_of(principal)
        if token is None or token.owner is None:
            return ""
        return token.owner

    def _token_of(self, principal: str) -> TokenAnswer | None:
        """Return the API token that is this principal, or None if the caller may not see it."""
        if not principal.startswith("token:"):
            return None
        # one request, however many threads want a token
        with self._lock:
            if self._tokens is None:
                self._tokens = self._listed_tokens()
            return self._tokens.get(principal)

    def _listed_tokens(self) -> dict[str, TokenAnswer]:
        """Return the tokens that the caller may see, by their principals."""
        # whoever has no credential would get an error in place of an empty list
        if not self.connection.has_credential:
            return {}
        return {f"token:{token.id}": token for token in self.call(list_tokens).tokens}

    def journals(self, only: NormalizedName | None) -> JournalSource:
        """Return the journals of all projects for None, or that of one. Nothing is read yet."""
        return RemoteJournals(self, only)

    def upload(
        self, path: Path, progress: Callable[[int], None], attestations: str = ""
    ) -> PublishedFile:
        """
        Upload a file with the JSON of its attestations, or without any for an empty text.

        `progress` is called with the size of each chunk. Raises the error with which the server
        refuses the file, and Unavailable if it does not answer. Raises Invalid if the file cannot
        be read, or changes meanwhile.
        """
        # a random boundary, which stands in no file
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

        There are never problems with the list. For one project alone nothing is requested. Raises
        Unauthenticated if the server refuses the credential, and Unavailable if it does not answer.
        Raises Invalid (code `no_index`) if it is no server of wheelyard.
        """
        if self.only is not None:
            return (self.only,), []
        moment = max(since, self._looked_at)
        # before the request: what is committed while it runs comes with the next one
        looked_at = self.api.connection.runtime.now()
        # with a time the server looks at the documents, of which released names have one, too
        listed = self.api.call(list_projects, ProjectsQuery(moment))
        # only after an answer: else a change could be missed
        self._looked_at = looked_at
        return [project.name for project in listed.projects], []

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, CommitJson | None]]:
        """
        Yield a project's commits with their numbers, newest first, down to the one behind `after`.

        None is a commit that the journal has lost. The oldest page is requested first, as it has
        the number of the last commit. Raises Unauthenticated, Forbidden or NotFound if the caller
        may not read the journal, and NotFound if the project is unknown. Raises Unavailable if the
        server does not answer, and Invalid (code `no_index`) if it is no server of wheelyard.
        """
        # pages are asked for by the commit before them, and nobody knows the last one yet
        first = self.api.call(get_journal, name, After(after))
        first_end = first.next or first.revision
        end = first.revision
        # as large as the server makes them, so that each page is one request
        size = max(first_end - after, 1)
        while end > first_end:
            begin = max(end - size, first_end)
            yield from _newest_first(self.api.call(get_journal, name, After(begin)), begin, end)
            end = begin
        yield from _newest_first(first, after, first_end)

    def name_of(self, principal: str) -> str:
        """Return the name of the API token that is this principal, or an empty text."""
        return self.api.name_of(principal)

    def owner_of(self, principal: str) -> str:
        """Return the owner of the API token that is this principal, or an empty text."""
        return self.api.owner_of(principal)


def _query_of(body: Struct) -> str:
    """Return the query of a GET request: the fields of a body, but for those that say nothing."""
    defaults = {field.encode_name: field.default for field in fields(type(body))}
    sent = list[tuple[str, object]]()
    for name, value in to_builtins(body).items():
        # an empty text may be a value, where another one is the default
        says_nothing = value is None or (value == "" and defaults[name] == "")
        if not says_nothing:
            sent.append((name, value))
    return urlencode(sent)


def _newest_first(
    page: JournalPage, after: int, end: int
) -> Iterator[tuple[int, CommitJson | None]]:
    """Yield the commits `after + 1` to `end` with their numbers, and None for a lost one."""
    commits = {commit.number: commit for commit in page.commits}
    for number in range(end, after, -1):
        yield number, commits.get(number)
