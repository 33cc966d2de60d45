"""The table of operations: `/api/v1/`, `--server` and docs/openapi.json are made from it."""

from functools import partial
from typing import Final

from wheelyard.api import access, projects, tokens
from wheelyard.api import public_packages as packages
from wheelyard.api.operation import ApiOperation as Row
from wheelyard.api.operation import RequiredRight

_MANAGER, _CALLER = RequiredRight.MANAGER, RequiredRight.CALLER
_NAMES = RequiredRight.ADMIN, "list the private names"
_RIGHTS = RequiredRight.ADMIN, "see or change rights"
_DECISIONS = RequiredRight.ADMIN, "see or make decisions"

# a token is shown once, so that the request is never repeated
_made = partial(Row, "POST", right=_CALLER, status=201, is_long=True, takes_iap=True, repeats=False)

OPERATIONS: Final = (
    Row("GET", "projects", projects.list_projects, is_long=True),
    Row("GET", "projects/{name}", projects.get_project),
    Row("GET", "projects/{name}/journal", projects.get_journal, is_long=True),
    Row("GET", "changes", projects.list_changes, is_long=True),
    Row("GET", "client-projects", projects.client_projects, is_long=True),
    Row("POST", "projects/{name}/yank", projects.yank, _MANAGER),
    Row("POST", "projects/{name}/unyank", projects.unyank, _MANAGER),
    Row("POST", "projects/{name}/delete", projects.delete, _MANAGER),
    Row("POST", "projects/{name}/status", projects.set_status, _MANAGER),
    Row("POST", "projects/{name}/reserve", projects.reserve_name, _MANAGER),
    Row("POST", "projects/{name}/release", projects.release_name, _MANAGER, repeats=False),
    Row("GET", "names", projects.list_names, *_NAMES, is_long=True),
    Row("GET", "whoami", tokens.whoami, takes_iap=True),
    Row("GET", "tokens", tokens.list_tokens, _CALLER, is_long=True, takes_iap=True),
    _made("tokens", tokens.create_token),
    _made("tokens/rotate", tokens.rotate_token),
    Row("DELETE", "tokens/{id}", tokens.revoke_token, _CALLER, takes_iap=True),
    Row("POST", "tokens/self/revoke", tokens.revoke_sent_token, _CALLER, takes_iap=True),
    Row("GET", "access", access.show_access, *_RIGHTS),
    Row("GET", "access/history", access.access_history, *_RIGHTS, is_long=True),
    Row("GET", "access/explain", access.explain_access, *_RIGHTS),
    Row("POST", "access/grant", access.add_grant, *_RIGHTS, status=201),
    Row("POST", "access/revoke", access.revoke_grant, *_RIGHTS, repeats=False),
    Row("POST", "access/group", access.edit_group, *_RIGHTS, repeats=False),
    Row("GET", "upstream/why", packages.explain_package, asks_upstream=True),
    Row("POST", "upstream/refresh", packages.refresh, asks_upstream=True),
    Row("GET", "upstream/decisions", packages.list_decisions, *_DECISIONS),
    Row("GET", "upstream/decisions/history", packages.decision_history, *_DECISIONS, is_long=True),
    Row("POST", "upstream/approve", packages.approve, *_DECISIONS, asks_upstream=True),
    Row("POST", "upstream/block", packages.block, *_DECISIONS),
)

ROWS: Final = {row.run: row for row in OPERATIONS}
"""The row of each function."""
