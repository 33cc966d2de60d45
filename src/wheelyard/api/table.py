"""The table of operations: `/api/v1/`, `--server` and docs/openapi.json are made from it."""

from functools import partial
from typing import Final

from wheelyard.api import access, projects, public_packages, tokens
from wheelyard.api.operation import Operation, Right

_RIGHTS, _DECISIONS = "see or change rights", "see or make decisions"
_ADMIN, _MANAGER, _CALLER = Right.ADMIN, Right.MANAGER, Right.CALLER

_made = partial(Operation, "POST", right=_CALLER, status=201, is_long=True, takes_iap=True)

OPERATIONS: Final = (
    Operation("GET", "projects", projects.list_projects, is_long=True),
    Operation("GET", "projects/{name}", projects.get_project),
    Operation("GET", "projects/{name}/journal", projects.get_journal, is_long=True),
    Operation("GET", "client-projects", projects.client_projects, is_long=True),
    Operation("POST", "projects/{name}/yank", projects.yank, _MANAGER),
    Operation("POST", "projects/{name}/unyank", projects.unyank, _MANAGER),
    Operation("POST", "projects/{name}/delete", projects.delete, _MANAGER),
    Operation("POST", "projects/{name}/status", projects.set_status, _MANAGER),
    Operation("POST", "projects/{name}/reserve", projects.reserve_name, _MANAGER),
    Operation("POST", "projects/{name}/release", projects.release_name, _MANAGER),
    Operation("GET", "names", projects.list_names, _ADMIN, "list the private names", is_long=True),
    Operation("GET", "whoami", tokens.whoami, takes_iap=True),
    Operation("GET", "tokens", tokens.list_tokens, _CALLER, is_long=True, takes_iap=True),
    Operation(
        "POST", "tokens", tokens.create_token, _CALLER, status=201, is_long=True, takes_iap=True
    ),
    Operation(
        "POST",
        "tokens/rotate",
        tokens.rotate_token,
        _CALLER,
        status=201,
        is_long=True,
        takes_iap=True,
    ),
    Operation("DELETE", "tokens/{id}", tokens.revoke_token, _CALLER, takes_iap=True),
    Operation("POST", "tokens/self/revoke", tokens.revoke_sent_token, _CALLER, takes_iap=True),
    Operation("GET", "access", access.show_access, _ADMIN, _RIGHTS),
    Operation("GET", "access/history", access.access_history, _ADMIN, _RIGHTS, is_long=True),
    Operation("GET", "access/explain", access.explain_access, _ADMIN, _RIGHTS),
    Operation("POST", "access/grant", access.add_grant, _ADMIN, _RIGHTS, status=201),
    Operation("POST", "access/revoke", access.revoke_grant, _ADMIN, _RIGHTS),
    Operation("POST", "access/group", access.edit_group, _ADMIN, _RIGHTS),
    Operation("GET", "upstream/why", public_packages.explain_package, asks_upstream=True),
    Operation("POST", "upstream/refresh", public_packages.refresh, asks_upstream=True),
    Operation("GET", "upstream/decisions", public_packages.list_decisions, _ADMIN, _DECISIONS),
    Operation(
        "GET",
        "upstream/decisions/history",
        public_packages.decision_history,
        _ADMIN,
        _DECISIONS,
        is_long=True,
    ),
    Operation(
        "POST",
        "upstream/approve",
        public_packages.approve,
        _ADMIN,
        _DECISIONS,
        asks_upstream=True,
    ),
    Operation("POST", "upstream/block", public_packages.block, _ADMIN, _DECISIONS),
)
