"""
Responses with files of private projects, and with their core metadata.

A file is served if the project's document lists it, and the project's status permits it.
"""

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.errors import NotFound
from wheelyard.http.caching.cache_headers import file_cache_headers
from wheelyard.http.caching.versions import project_key
from wheelyard.http.context import ServerContext
from wheelyard.http.file_delivery import missing_file_error
from wheelyard.http.file_responses import (
    FileToSend,
    WantedFile,
    core_metadata_response,
    file_response,
)
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import MadeFrom, Request, Response
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

    @property
    def store(self) -> Store:
        """Where the files are kept."""
        return self.context.index.files.store

    def made_from(self) -> tuple[MadeFrom | None, float]:
        """Return the version of the document; None without one."""
        if self.version == ABSENT:
            return None, inf
        return ((project_key(self.project.name), self.version),), inf

    def core_metadata(self, request: Request, filename: str) -> "CoreMetadata":
        """Return the core metadata of a listed file, minimal if it has none; raise Unavailable."""
        del request
        file = self.project.by_filename[filename]
        return self.context.core_metadata.load(self.project.name, file)

    def response(self, request: Request, wanted: WantedFile) -> Response:
        """Return the response with a file or its core metadata, perhaps 404; raise Unavailable."""
        file = self.project.by_filename.get(wanted.filename)
        if not self.project.status.serves_files or file is None or not wanted.is_served(file):
            return file_not_found()
        try:
            return self._send(request, wanted, file)
        except NotFound as error:
            # a concurrent delete first changes the document, then deletes the bytes
            if self._is_listed_now(file):
                raise missing_file_error(file) from error
            return file_not_found()

    def _is_listed_now(self, file: File) -> bool:
        """Return whether the document, read anew from the store, lists exactly this file."""
        documents = self.context.index.projects.documents
        document = documents.get(keys.project(self.project.name), "current").value
        return document is not None and document.by_filename.get(file.filename) == file

    def _send(self, request: Request, wanted: WantedFile, file: File) -> Response:
        """Return the response with a file, or with its core metadata; may raise NotFound."""
        context, name = self.context, self.project.name
        is_public = context.read_policy.is_public(name)
        if wanted.is_metadata:
            load = partial(context.core_metadata.load_bytes, name, file)
            version = ObjectVersion(file.core_metadata)  # its digest
            return core_metadata_response(
                request, context, version, load, *self.made_from(), is_public=is_public
            )
        sent = FileToSend(
            sha256=file.sha256,
            size=file.size,
            headers=file_cache_headers(is_public=is_public),
            open_body=partial(context.file_delivery.open_body, name, file),
        )
        return file_response(request, context, sent)
