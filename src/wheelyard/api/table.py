"""The table of operations: `/api/v1/`, `--server` and docs/openapi.json are made from it."""

from functools import partial
from typing import Final

from wheelyard.api import (
    access_operations,
    apply_operations,
    download_operations,
    health_operations,
    journal_operations,
    package_request_operations,
    people_operations,
    project_operations,
    promotion_operations,
    provenance_operations,
    public_package_operations,
    retention_operations,
    usage_operations,
    why_operations,
)
from wheelyard.api.index_operations import INDEXES
from wheelyard.api.namespace_operations import NAMESPACES
from wheelyard.api.operation import ApiOperation as Row
from wheelyard.api.operation import RequiredRight
from wheelyard.api.publisher_operations import PUBLISHERS
from wheelyard.api.webhook_operations import WEBHOOK_ROWS, WEBHOOKS
from wheelyard.settings.sections import MIB

_READER = RequiredRight.READER
_CALLER = RequiredRight.CALLER
_MANAGER = RequiredRight.MANAGER
_APPROVER = RequiredRight.APPROVER

# what only administrators may do: the right, and the words of the message to other callers
_SEE_NAMES = RequiredRight.ADMIN, "list the private names"
_SEE_RIGHTS = RequiredRight.ADMIN, "see or change rights"
_SEE_TABLES = RequiredRight.ADMIN, "see what describes the index"
_CHANGE_TABLES = RequiredRight.OWN_ADMIN, "change what describes the index"
_SEE_PEOPLE = RequiredRight.ADMIN, "see the people of this index"
_CHANGE_RIGHTS = RequiredRight.OWN_ADMIN, "change rights"
_SEE_HEALTH = RequiredRight.ADMIN, health_operations.HEALTH
_SEE_SETTINGS = RequiredRight.ADMIN, health_operations.SETTINGS
_SEE_USAGE = RequiredRight.ADMIN, usage_operations.USAGE
_USE_RETENTION = RequiredRight.ADMIN, retention_operations.RETENTION
_SEE_JOURNALS = RequiredRight.ADMIN, journal_operations.JOURNALS

TABLE_OPERATIONS: Final = (PUBLISHERS, NAMESPACES, WEBHOOKS, INDEXES)

_of_index = partial(Row, is_of_index=True)
# a token is shown once, so the request must not be repeated
_creates_token = partial(
    Row, "POST", right=_CALLER, status=201, is_long=True, takes_iap=True, is_repeatable=False
)

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
    # long, as all bytes of the files are read
    _of_index(
        "POST", "projects/{name}/restore", project_operations.restore, _MANAGER, is_long=True
    ),
    _of_index("POST", "projects/{name}/status", project_operations.set_status, _MANAGER),
    _of_index("POST", "projects/{name}/reserve", project_operations.reserve_name, _MANAGER),
    _of_index(
        "POST",
        "projects/{name}/release",
        project_operations.release_name,
        _MANAGER,
        is_repeatable=False,
    ),
    _of_index(
        "POST", "projects/{name}/promote", promotion_operations.promote, _CALLER, asks_upstream=True
    ),
    _of_index("GET", "names", project_operations.list_names, *_SEE_NAMES, is_long=True),
    Row("GET", "health", health_operations.show_health, *_SEE_HEALTH, is_long=True),
    Row("GET", "settings", health_operations.show_settings, *_SEE_SETTINGS),
    _of_index("GET", "usage", usage_operations.show_usage, *_SEE_USAGE, is_long=True),
    Row("GET", "retention", retention_operations.preview_retention, *_USE_RETENTION, is_long=True),
    Row("POST", "retention/run", retention_operations.run_retention, *_USE_RETENTION, is_long=True),
    Row("GET", "journal", journal_operations.list_entries, *_SEE_JOURNALS, is_long=True),
    _of_index("GET", "whoami", access_operations.whoami, _READER, takes_iap=True),
    Row("GET", "tokens", access_operations.list_tokens, _CALLER, is_long=True, takes_iap=True),
    _creates_token("tokens", access_operations.create_token),
    _creates_token("tokens/rotate", access_operations.rotate_token),
    Row("POST", "tokens/change", access_operations.change_token, *_CHANGE_RIGHTS),
    Row("DELETE", "tokens/{id}", access_operations.revoke_token, _CALLER, takes_iap=True),
    Row("POST", "tokens/self/revoke", access_operations.revoke_sent_token, _CALLER, takes_iap=True),
    Row("GET", "access", access_operations.show_access, *_SEE_RIGHTS),
    Row("GET", "access/history", access_operations.access_history, *_SEE_RIGHTS, is_long=True),
    Row("GET", "access/explain", access_operations.explain_access, *_SEE_RIGHTS),
    Row("POST", "access/grant", access_operations.add_grant, *_CHANGE_RIGHTS, status=201),
    Row(
        "POST",
        "access/revoke",
        access_operations.revoke_grant,
        *_CHANGE_RIGHTS,
        is_repeatable=False,
    ),
    Row("POST", "access/group", access_operations.edit_group, *_CHANGE_RIGHTS, is_repeatable=False),
    Row("POST", "people/end", people_operations.end_person, *_CHANGE_RIGHTS),
    Row("POST", "people/admit", people_operations.admit_person, *_CHANGE_RIGHTS),
    Row(
        "POST",
        "people/release-name",
        people_operations.release_name,
        *_CHANGE_RIGHTS,
        is_repeatable=False,
    ),
    Row("GET", "people", people_operations.list_people, *_SEE_PEOPLE, is_long=True),
    Row("GET", "people/show", people_operations.show_person, *_SEE_PEOPLE, is_long=True),
    Row("GET", "people/groups", people_operations.list_provider_groups, *_SEE_PEOPLE, is_long=True),
    *PUBLISHERS.rows,
    *NAMESPACES.rows,
    *WEBHOOKS.rows,
    *INDEXES.rows,
    *WEBHOOK_ROWS,
    Row("GET", "tables", apply_operations.show_tables, *_SEE_TABLES),
    Row(
        "POST",
        "tables/apply",
        apply_operations.apply_files,
        *_CHANGE_TABLES,
        is_repeatable=False,
        body_limit=MIB,
    ),
    _of_index("GET", "upstream/why", why_operations.explain_project, _READER, asks_upstream=True),
    Row("GET", "upstream/requests", package_request_operations.list_requests, _APPROVER),
    Row(
        "POST",
        "upstream/request",
        package_request_operations.request_package,
        _CALLER,
        status=201,
        asks_upstream=True,
    ),
    Row("POST", "upstream/refresh", public_package_operations.refresh, _READER, asks_upstream=True),
    Row("GET", "upstream/decisions", public_package_operations.list_decisions, _APPROVER),
    Row(
        "GET",
        "upstream/decisions/history",
        public_package_operations.decision_history,
        _APPROVER,
        is_long=True,
    ),
    Row(
        "POST",
        "upstream/approve",
        public_package_operations.approve,
        _APPROVER,
        asks_upstream=True,
    ),
    Row("POST", "upstream/block", public_package_operations.block, _APPROVER),
    Row(
        "POST",
        "upstream/decide",
        public_package_operations.decide,
        _APPROVER,
        asks_upstream=True,
        # 100,000 digests
        body_limit=8 * MIB,
    ),
)

ROWS: Final = {row.run: row for row in OPERATIONS}
"""The row of each function."""
