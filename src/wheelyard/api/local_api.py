"""Operations on the index of a store, with the methods that `remote_api.py` has for a server."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from packaging.utils import NormalizedName

from wheelyard.api.operation import Call
from wheelyard.api.table import ROWS
from wheelyard.operations.journal_reader import JournalSource, StoreJournals
from wheelyard.operations.uploads import PublishedFile

P = ParamSpec("P")
T = TypeVar("T")

BUCKET_UPLOADS: Final = 8
"""Concurrent uploads to a bucket. It answers slowly, and uploads of one project share a commit."""


class LocalApi(Call, frozen=True):
    """The index of a store, for the sender of a form or the user of a command."""

    @property
    def url(self) -> str:
        """The root URL for clients, without a slash at its end, or empty if no setting has it."""
        settings = self.index.settings
        if not settings.server.public_url:
            return ""
        return settings.base_url

    @property
    def is_local(self) -> bool:
        """Whether the store is on this machine, so that reads cost next to nothing."""
        return self.index.server.is_local

    @property
    def concurrent_uploads(self) -> int:
        """The number of files to upload at a time."""
        if self.index.server.is_local:
            return 1
        return BUCKET_UPLOADS

    def call(
        self, operation: Callable[Concatenate[Call, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Do an operation, as a server does it for a request.

        `ROWS` has a row for each operation: its method, its path, and the right that it needs.
        Raises the errors of the operation, and Unauthenticated or Forbidden unless the caller has
        the right of the row.
        """
        # None stands for the call: all arguments but the call and the body are texts of the path
        arguments = signature(operation).bind(None, *args, **kwargs).arguments
        path_arguments = dict[str, str]()
        for name, value in arguments.items():
            if isinstance(value, str):
                path_arguments[name] = value
        row = ROWS[operation]
        # this checks the right, as a server does it before it reads a body
        row.checked_arguments(self, path_arguments)
        with row.naming_alternatives(self, path_arguments):
            return operation(self, *args, **kwargs)

    def name_of(self, principal: str) -> str:
        """
        Return the name of the API token that is this principal, or an empty text.

        Raises Unavailable if the store does not answer.
        """
        return self.index.tokens.records.name_of(principal)

    def journals(self, project: NormalizedName | None) -> JournalSource:
        """Return the journal of a project, or for None those of all. Nothing is read yet."""
        index = self.index
        return StoreJournals(index.projects, index.changes, index.tokens.records, project)

    def upload(
        self, path: Path, progress: Callable[[int], None], attestations: str = ""
    ) -> PublishedFile:
        """
        Upload a file with the JSON of its attestations, or without any for an empty text.

        `progress` is called with the size of each chunk. Raises Invalid if the file cannot be
        opened or is not valid, or its name is malformed or cannot be used again. Raises Forbidden
        if the caller may not upload to the project, the index or the project takes no uploads, or
        an upstream index has the name (code `public_name`). Raises Conflict if the filename is
        listed with other bytes (code `file_exists`), or a new project is in a namespace of others
        (code `namespace_reserved`). Raises TooLarge if the file is above the limit, or a quota has
        no room for it (code `quota_exceeded`). Raises Unavailable if the store or an upstream index
        does not answer, or the spool cannot be written.
        """
        return self.index.uploads.accept_path(path, self.caller, progress, attestations)
