"""The table of operations: `/api/v1/`, `--server` and docs/openapi.json are made from it."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from packaging.utils import NormalizedName

from wheelyard.api import (
    access_operations,
    apply_operations,
    download_operations,
    health_operations,
    journal_operations,
    people_operations,
    project_operations,
    promotion_operations,
    provenance_operations,
    retention_operations,
    server_operations,
    why_operations,
)
from wheelyard.api import package_request_operations as requests
from wheelyard.api import public_package_operations as packages
from wheelyard.api.index_operations import INDEXES
from wheelyard.api.namespace_operations import NAMESPACES
from wheelyard.api.operation import ApiOperation as Row
from wheelyard.api.operation import Call, RequiredRight
from wheelyard.api.publisher_operations import PUBLISHERS
from wheelyard.api.webhook_operations import WEBHOOK_ROWS, WEBHOOKS
from wheelyard.operations.journal_reader import JournalSource, StoreJournals
from wheelyard.operations.uploads import PublishedFile
from wheelyard.settings.sections import MIB

P = ParamSpec("P")
T = TypeVar("T")

BUCKET_UPLOADS: Final = 8
"""Concurrent uploads to a bucket, which answers slowly, while one project's share a commit."""

_READER = RequiredRight.READER
_CALLER = RequiredRight.CALLER
_MANAGER = RequiredRight.MANAGER
_NAMES = RequiredRight.ADMIN, "list the private names"
_RIGHTS = RequiredRight.ADMIN, "see or change rights"
_TABLES = RequiredRight.ADMIN, "see what describes the index"
_APPLIED = RequiredRight.OWN_ADMIN, "change what describes the index"
_PEOPLE = RequiredRight.ADMIN, "see the people of this index"
_CHANGED_RIGHTS = RequiredRight.OWN_ADMIN, "change rights"
_HEALTH = RequiredRight.ADMIN, health_operations.HEALTH
_SETTINGS = RequiredRight.ADMIN, health_operations.SETTINGS
_USAGE = RequiredRight.ADMIN, server_operations.USAGE
_RETENTION = RequiredRight.ADMIN, retention_operations.RETENTION
_JOURNALS = RequiredRight.ADMIN, journal_operations.JOURNALS
_DECISIONS = (RequiredRight.APPROVER,)

TABLE_OPERATIONS: Final = (PUBLISHERS, NAMESPACES, WEBHOOKS, INDEXES)

_of_index = partial(Row, is_of_index=True)
# a token is shown once, so that the request is never repeated
_made = partial(Row, "POST", right=_CALLER, status=201, is_long=True, takes_iap=True, repeats=False)

OPERATIONS: Final = (
    _of_index("GET", "projects", project_operations.list_projects, _READER, is_long=True),
    _of_index("GET", "projects/{name}", project_operations.get_project, _READER),
    _of_index(
        "GET", "projects/{name}/journal", project_operations.get_journal, _READER, is_long=True
    ),
    _of_index(
        "GET",
        "projects/{name}/downloads",
        download_operations.show_downloads,
        _READER,
        is_long=True,
    ),
    _of_index("GET", "projects/{name}/provenance", provenance_operations.show_provenance, _READER),
    _of_index("GET", "changes", project_operations.list_changes, _READER, is_long=True),
    _of_index("GET", "client-projects", project_operations.client_projects, _READER, is_long=True),
    _of_index("POST", "projects/{name}/yank", project_operations.yank, _MANAGER),
    _of_index("POST", "projects/{name}/unyank", project_operations.unyank, _MANAGER),
    _of_index("POST", "projects/{name}/pin", project_operations.pin, _MANAGER),
    _of_index("POST", "projects/{name}/unpin", project_operations.unpin, _MANAGER),
    _of_index("POST", "projects/{name}/delete", project_operations.delete, _MANAGER),
    _of_index("POST", "projects/{name}/delete-now", project_operations.delete_now, _MANAGER),
    # it reads all bytes of the files
    _of_index(
        "POST", "projects/{name}/restore", project_operations.restore, _MANAGER, is_long=True
    ),
    _of_index("POST", "projects/{name}/status", project_operations.set_status, _MANAGER),
    _of_index("POST", "projects/{name}/reserve", project_operations.reserve_name, _MANAGER),
    _of_index(
        "POST", "projects/{name}/release", project_operations.release_name, _MANAGER, repeats=False
    ),
    _of_index(
        "POST", "projects/{name}/promote", promotion_operations.promote, _CALLER, asks_upstream=True
    ),
    _of_index("GET", "names", project_operations.list_names, *_NAMES, is_long=True),
    Row("GET", "health", health_operations.show_health, *_HEALTH, is_long=True),
    Row("GET", "settings", health_operations.show_settings, *_SETTINGS),
    _of_index("GET", "usage", server_operations.show_usage, *_USAGE, is_long=True),
    Row("GET", "retention", retention_operations.preview_retention, *_RETENTION, is_long=True),
    Row("POST", "retention/run", retention_operations.run_retention, *_RETENTION, is_long=True),
    Row("GET", "journal", journal_operations.list_entries, *_JOURNALS, is_long=True),
    _of_index("GET", "whoami", access_operations.whoami, _READER, takes_iap=True),
    Row("GET", "tokens", access_operations.list_tokens, _CALLER, is_long=True, takes_iap=True),
    _made("tokens", access_operations.create_token),
    _made("tokens/rotate", access_operations.rotate_token),
    Row("POST", "tokens/change", access_operations.change_token, *_CHANGED_RIGHTS),
    Row("DELETE", "tokens/{id}", access_operations.revoke_token, _CALLER, takes_iap=True),
    Row("POST", "tokens/self/revoke", access_operations.revoke_sent_token, _CALLER, takes_iap=True),
    Row("GET", "access", access_operations.show_access, *_RIGHTS),
    Row("GET", "access/history", access_operations.access_history, *_RIGHTS, is_long=True),
    Row("GET", "access/explain", access_operations.explain_access, *_RIGHTS),
    Row("POST", "access/grant", access_operations.add_grant, *_CHANGED_RIGHTS, status=201),
    Row("POST", "access/revoke", access_operations.revoke_grant, *_CHANGED_RIGHTS, repeats=False),
    Row("POST", "access/group", access_operations.edit_group, *_CHANGED_RIGHTS, repeats=False),
    Row("POST", "people/end", people_operations.end_person, *_CHANGED_RIGHTS),
    Row("POST", "people/admit", people_operations.admit_person, *_CHANGED_RIGHTS),
    Row(
        "POST",
        "people/release-name",
        people_operations.release_name,
        *_CHANGED_RIGHTS,
        repeats=False,
    ),
    Row("GET", "people", people_operations.list_people, *_PEOPLE, is_long=True),
    Row("GET", "people/show", people_operations.show_person, *_PEOPLE, is_long=True),
    Row("GET", "people/groups", people_operations.list_provider_groups, *_PEOPLE, is_long=True),
    *PUBLISHERS.rows,
    *NAMESPACES.rows,
    *WEBHOOKS.rows,
    *INDEXES.rows,
    *WEBHOOK_ROWS,
    Row("GET", "tables", apply_operations.show_tables, *_TABLES),
    Row(
        "POST",
        "tables/apply",
        apply_operations.apply_files,
        *_APPLIED,
        repeats=False,
        body_limit=MIB,
    ),
    _of_index("GET", "upstream/why", why_operations.explain_project, _READER, asks_upstream=True),
    Row("GET", "upstream/requests", requests.list_requests, *_DECISIONS),
    Row(
        "POST",
        "upstream/request",
        requests.request_package,
        _CALLER,
        status=201,
        asks_upstream=True,
    ),
    Row("POST", "upstream/refresh", packages.refresh, _READER, asks_upstream=True),
    Row("GET", "upstream/decisions", packages.list_decisions, *_DECISIONS),
    Row("GET", "upstream/decisions/history", packages.decision_history, *_DECISIONS, is_long=True),
    Row("POST", "upstream/approve", packages.approve, *_DECISIONS, asks_upstream=True),
    Row("POST", "upstream/block", packages.block, *_DECISIONS),
    Row(
        "POST",
        "upstream/decide",
        packages.decide,
        *_DECISIONS,
        asks_upstream=True,
        # 100,000 digests
        body_limit=8 * MIB,
    ),
)

ROWS: Final = {row.run: row for row in OPERATIONS}
"""The row of each function."""


class LocalApi(Call, frozen=True):
    """The index of a store, for the sender of a form or the user of a command."""

    @property
    def url(self) -> str:
        """The root URL for clients without a slash at its end, empty if it is not known."""
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
        Do an operation.

        Raises what the function raises, and Unauthenticated or Forbidden unless the caller has the
        right of the row.
        """
        arguments = signature(operation).bind(None, *args, **kwargs).arguments
        # all other arguments are the call and the body
        in_path = {name: value for name, value in arguments.items() if isinstance(value, str)}
        # a server checks the right of the row in the same way before it reads a body
        row = ROWS[operation]
        row.arguments(self, in_path)
        with row.naming_alternatives(self, in_path):
            return operation(self, *args, **kwargs)

    def name_of(self, principal: str) -> str:
        """
        Return the name of the API token that is this principal, or an empty text.

        Raises Unavailable if the store does not answer.
        """
        return self.index.tokens.records.name_of(principal)

    def journals(self, only: NormalizedName | None) -> JournalSource:
        """Return the journals of all projects, or that of one."""
        return StoreJournals(
            self.index.projects, self.index.changes, self.index.tokens.records, only
        )

    def upload(
        self, path: Path, progress: Callable[[int], None], attestations: str = ""
    ) -> PublishedFile:
        """
        Upload a file with the JSON of its attestations.

        `progress` is called with the size of each chunk. Raises what `Uploads.accept_path` raises.
        """
        return self.index.uploads.accept_path(path, self.caller, progress, attestations)
