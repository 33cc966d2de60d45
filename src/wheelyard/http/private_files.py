"""
Responses with files of private projects, and with their core metadata.

A file is served if the project's document lists it, and the project's status permits it. On a
bucket, a cached document that has to be revalidated and the file that it lists are requested at the
same time. The response is sent only if the document still lists the file.
"""

from asyncio import Task, create_task
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import NotFound
from wheelyard.http.caching.cache_headers import file_cache_headers
from wheelyard.http.context import ServerContext
from wheelyard.http.file_delivery import missing_file_error
from wheelyard.http.file_responses import (
    WantedFile,
    core_metadata_response,
    file_response,
    stored_file,
)
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.model.project import File, Project
from wheelyard.storage.base import ABSENT, ObjectVersion, Store

if TYPE_CHECKING:
    from wheelyard.model.metadata import CoreMetadata


class PrivateFiles(Struct, frozen=True):
    """The files of a private project, by one version of its document."""

    context: ServerContext
    project: Project
    version: ObjectVersion
    """ABSENT if there is no document."""
    is_expired: bool = False
    """Whether the document has to be compared with the store before a file is sent."""

    @property
    def store(self) -> Store:
        """Where the files are kept."""
        return self.context.index.files.store

    def watch(self) -> Callable[[], bool] | None:
        """Return a function that tells whether the document is the same; None without one."""
        if self.version == ABSENT:
            return None
        return self.context.index.projects.watch(self.project.name, self.version)

    async def core_metadata(self, filename: str) -> "CoreMetadata":
        """Return the core metadata of a listed file, minimal if it has none; raise Unavailable."""
        file = self.project.by_filename[filename]
        load = partial(self.context.core_metadata.load, self.project.name, file)
        key = ("core_metadata", self.project.name, filename, file.sha256)
        return await self.context.documents.coalesce(key, load)

    async def response(self, request: Request, wanted: WantedFile) -> Response:
        """Return the response with a file or its core metadata, perhaps 404; raise Unavailable."""
        if not self.is_expired:
            return await self._response(request, wanted)
        file, documents = self._find(wanted), self.context.documents
        early = None if file is None else create_task(self._send(request, wanted, file))
        current: PrivateFiles | None = None
        try:
            project, version = await documents.require_project(self.project.name)
            current = replace(self, project=project, version=version, is_expired=False)
        finally:
            if early and (current is None or current._find(wanted) != file):  # noqa: SLF001 - ours
                early.add_done_callback(_discard)
                early = None
        return await current._response(request, wanted, early)  # noqa: SLF001 - ours

    async def _response(
        self, request: Request, wanted: WantedFile, early: Task[Response] | None = None
    ) -> Response:
        file = self._find(wanted)
        if file is None:
            return file_not_found()
        try:
            return await (early or self._send(request, wanted, file))
        except NotFound as error:
            # a concurrent delete first changes the document, then deletes the bytes
            if await self.context.documents.is_file_listed(self.project.name, file):
                raise missing_file_error(file) from error
            return file_not_found()

    def _find(self, wanted: WantedFile) -> File | None:
        """Return a file; None if the document does not serve it."""
        if not self.project.status.serves_files:
            return None
        file = self.project.by_filename.get(wanted.filename)
        return file if file is not None and wanted.is_served(file) else None

    async def _send(self, request: Request, wanted: WantedFile, file: File) -> Response:
        """Return the response with a file, or with its core metadata; may raise NotFound."""
        context, name, is_current = self.context, self.project.name, self.watch()
        is_public, is_local = context.read_policy.is_public(name), context.index.is_local
        if wanted.is_metadata:
            load = partial(context.core_metadata.load_bytes, name, file)
            version = ObjectVersion(file.core_metadata)  # its digest
            return await core_metadata_response(
                request, context, version, load, is_current, is_public=is_public
            )
        headers = file_cache_headers(is_public=is_public)
        open_body = partial(context.file_delivery.open_body, name, file)
        sent = stored_file(context, file, headers, open_body, is_current, is_local=is_local)
        return await file_response(request, sent)


def _discard(task: Task[Response]) -> None:
    """Close the body of a response that is not sent; ignore the error of a failed one."""
    if not task.cancelled() and task.exception() is None:
        getattr(task.result().body, "close", lambda: None)()
