"""Operations on the index of a server, by requests to `/api/v1/`."""

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
    """
    The index of a server, for the user of a command. Threads may share it.

    Args:
        connection: The connection to the URL of the index.
        root_connection: That to the root of the server, if it is another one.
    """

    is_local: Final = False
    """Each read is a request."""
    concurrent_uploads: Final = 4
    """The server shares its places for uploads between its callers."""

    def __init__(
        self, connection: ApiConnection, root_connection: ApiConnection | None = None
    ) -> None:
        self.connection = connection
        self._root_connection = root_connection or connection
        """For operations on the whole server, which has no such routes below an index."""
        self._tokens_by_principal: dict[str, TokenAnswer] | None = None
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

        Raises the errors of the function, Unavailable if the server does not answer, and Invalid
        (code `no_index`) if the answer is not one of a wheelyard server.
        """
        row = ROWS[operation]
        # bound to the function, whose first argument is the call: names are those of the path
        arguments = signature(operation).bind(None, *args, **kwargs).arguments
        body = arguments.pop("body", None)
        segments = dict[str, str]()
        for name, value in arguments.items():
            segments[name] = quote(str(value), safe="")
        path = row.path.format_map(segments)
        if row.method == "GET" and body is not None:
            path = f"{path}?{_encode_query(body)}".removesuffix("?")
            body = None
        # below an index a server has only the routes about packages
        connection = self.connection if row.is_of_index else self._root_connection
        answer: T = connection.send(
            row.method, path, row.answer_type, body, repeats=row.is_repeatable
        )
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

        The text is also empty if the caller may not see the token. The list of tokens is requested
        once. Raises Unauthenticated if the server refuses the credential, and Unavailable if it
        does not answer. Raises Invalid (code `no_index`) if it is no server of wheelyard.
        """
        token = self._token_of(principal)
        if token is None:
            return ""
        return token.name

    def owner_of(self, principal: str) -> str:
        """
        Return the owner of the API token that is this principal, or an empty text.

        The text is also empty if the caller may not see the token, or nobody owns the token. The
        list of tokens is requested once. Raises Unauthenticated if the server refuses the
        credential, and Unavailable if it does not answer. Raises Invalid (code `no_index`) if it is
        no server of wheelyard.
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
            if self._tokens_by_principal is None:
                self._tokens_by_principal = self._list_visible_tokens()
            return self._tokens_by_principal.get(principal)

    def _list_visible_tokens(self) -> dict[str, TokenAnswer]:
        """Return the tokens that the caller may see, by their principals."""
        # whoever has no credential would get an error in place of an empty list
        if not self.connection.has_credential:
            return {}
        return {f"token:{token.id}": token for token in self.call(list_tokens).tokens}

    def journals(self, project: NormalizedName | None) -> JournalSource:
        """Return the journal of a project, or for None those of all. Nothing is requested yet."""
        return RemoteJournals(self, project)

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
    """The journals of a server: that of one project, or without `project` those of all."""

    api: RemoteApi
    project: NormalizedName | None = None
    _last_look: datetime = field(default=BEGINNING, init=False)

    def changed(self, since: datetime) -> tuple[Sequence[NormalizedName], list[str]]:
        """
        Return the projects that may have changed since that time, and since the last call.

        The second value, problems with the list, is always empty. For one project alone nothing is
        requested. Raises Unauthenticated if the server refuses the credential, and Unavailable if
        it does not answer. Raises Invalid (code `no_index`) if it is no server of wheelyard.
        """
        if self.project is not None:
            return (self.project,), []
        changed_since = max(since, self._last_look)
        # taken before the request: what is committed while it runs comes with the next one
        now = self.api.connection.runtime.now()
        # with a time the server looks at the documents, of which released names have one, too
        answer = self.api.call(list_projects, ProjectsQuery(changed_since))
        # set only after an answer: after an error the same changes have to be asked for again
        self._last_look = now
        return [project.name for project in answer.projects], []

    def commits(self, name: NormalizedName, after: int) -> Iterator[tuple[int, CommitJson | None]]:
        """
        Yield the commits of a project that follow number `after`, with their numbers, newest first.

        A commit that the journal has lost is None. The oldest page is requested first, as it tells
        the number of the last commit. Raises Unauthenticated, Forbidden or NotFound if the caller
        may not read the journal, and NotFound if the project is unknown. Raises Unavailable if the
        server does not answer, and Invalid (code `no_index`) if it is no server of wheelyard.
        """
        # a page is asked for by the number before it, and the last number is not known yet
        first_page = self.api.call(get_journal, name, After(after))
        first_page_end = first_page.next or first_page.revision
        page_end = first_page.revision
        # as large as the pages of the server, so that each page is one request
        page_size = max(first_page_end - after, 1)
        while page_end > first_page_end:
            page_begin = max(page_end - page_size, first_page_end)
            page = self.api.call(get_journal, name, After(page_begin))
            yield from _newest_first(page, page_begin, page_end)
            page_end = page_begin
        yield from _newest_first(first_page, after, first_page_end)

    def name_of(self, principal: str) -> str:
        """Return the name of the API token that is this principal, or an empty text."""
        return self.api.name_of(principal)

    def owner_of(self, principal: str) -> str:
        """Return the owner of the API token that is this principal, or an empty text."""
        return self.api.owner_of(principal)


def _encode_query(body: Struct) -> str:
    """Return the query of a GET request: the fields of a body without those that say nothing."""
    defaults = {field.encode_name: field.default for field in fields(type(body))}
    query_fields = list[tuple[str, object]]()
    for name, value in to_builtins(body).items():
        # an empty text is a value where the default is another text
        says_nothing = value is None or (value == "" and defaults[name] == "")
        if not says_nothing:
            query_fields.append((name, value))
    return urlencode(query_fields)


def _newest_first(
    page: JournalPage, after: int, end: int
) -> Iterator[tuple[int, CommitJson | None]]:
    """Yield commits `after + 1` to `end` with their numbers, newest first, a lost one as None."""
    commits_by_number = {commit.number: commit for commit in page.commits}
    for number in range(end, after, -1):
        yield number, commits_by_number.get(number)
