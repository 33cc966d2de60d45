"""Operations on the index of a store; `remote.py` has the same for the index of a server."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from packaging.utils import NormalizedName

from wheelyard.api.operation import Call
from wheelyard.api.table import ROWS
from wheelyard.operations.journal import JournalSource, StoreJournals
from wheelyard.operations.upload import PublishedFile

P = ParamSpec("P")
T = TypeVar("T")

BUCKET_UPLOADS: Final = 8
"""Concurrent uploads to a bucket, which answers slowly; files of one project share a commit."""


class LocalApi(Call, frozen=True):
    """The index of a store; the caller is the sender of a form, or the user of a command."""

    @property
    def url(self) -> str:
        """The root URL for clients, without a slash at its end; empty if it is not known."""
        settings = self.index.settings
        return settings.base_url if settings.server.public_url else ""

    @property
    def is_local(self) -> bool:
        """Whether the store is on this machine, so that reads cost next to nothing."""
        return self.index.is_local

    @property
    def concurrent_uploads(self) -> int:
        """The number of files to upload at a time."""
        return 1 if self.index.is_local else BUCKET_UPLOADS

    def call(
        self, operation: Callable[Concatenate[Call, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do an operation; raise an error unless the caller may."""
        values = signature(operation).bind(None, *args, **kwargs).arguments
        in_path = {name: value for name, value in values.items() if isinstance(value, str)}
        ROWS[operation].arguments(self, in_path)
        return operation(self, *args, **kwargs)

    def name_of(self, principal: str) -> str:
        """Return the name of the API token that is this principal, or an empty text."""
        return self.index.tokens.records.name_of(principal)

    def journals(self, only: NormalizedName | None) -> JournalSource:
        """Return the journals of all projects, or that of one."""
        return StoreJournals(
            self.index.projects, self.index.changes, self.index.tokens.records, only
        )

    def upload(self, path: Path, progress: Callable[[int], None]) -> PublishedFile:
        """Upload a file; call `progress` with the size of each chunk."""
        return self.index.uploads.accept_path(path, self.caller, progress)
