"""Operations on grants and groups, for administrators."""

from typing import Literal

from msgspec import Struct

from wheelyard.api.operation import Call, Name
from wheelyard.api.projects import After
from wheelyard.authentication.rights import AccessExplanation, explain, parse_subject
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import ACTIONS, AccessCommit, GrantFields
from wheelyard.operations.access_control import AccessList, AddedGrant, GroupChange

ActionWord = Literal["read", "upload", "manage", "admin"]


class AccessHistory(Struct, frozen=True):
    """Changes of the grants and groups in the store, oldest first."""

    commits: tuple[AccessCommit, ...]


class AccessQuestion(Struct, frozen=True):
    """The question whether somebody may do something."""

    who: str
    """Principals, separated by commas, or `token:ID`."""
    project: Name
    """It need not exist."""
    action: ActionWord


class GrantRevocation(Struct, frozen=True, forbid_unknown_fields=True):
    """The grant to revoke, and why."""

    id: str
    note: str = ""


class GroupEdit(Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a group."""

    change: GroupChange
    name: str
    who: tuple[str, ...] = ()
    """The new members, or those to add or to remove."""
    note: str = ""


def show_access(call: Call) -> AccessList:
    """Show all grants and groups, of the settings and of the store."""
    return call.index.access.show()


def access_history(call: Call, body: After) -> AccessHistory:
    """Show the changes of grants and groups in the store that follow a number."""
    return AccessHistory(tuple(call.index.access.records.history(body.after)))


def explain_access(call: Call, body: AccessQuestion) -> AccessExplanation:
    """Tell whether somebody may do something, and why."""
    index, name = call.index, parse_name(body.project)
    return explain(
        parse_subject(body.who, index.authenticator),
        ACTIONS[body.action],
        name,
        index.authenticator,
        index.settings.private_patterns,
        may_be_public=index.may_be_public(name),
    )


def add_grant(call: Call, body: GrantFields) -> AddedGrant:
    """Add a grant to the store; an equal one that is there stays, and is returned."""
    return call.index.add_grant(body, call.by)


def revoke_grant(call: Call, body: GrantRevocation) -> None:
    """Revoke a grant of the store."""
    call.index.access.revoke(body.id, call.by, body.note)


def edit_group(call: Call, body: GroupEdit) -> None:
    """Make, change or delete a group of the store."""
    call.index.access.edit_group(body.change, body.name, body.who, call.by, body.note)
