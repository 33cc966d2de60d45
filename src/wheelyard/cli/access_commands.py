"""`wheelyard access`: grants and groups, and why somebody may do something."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from click import Argument, Option
from msgspec.structs import replace

from wheelyard.api import access_operations
from wheelyard.cli import command_context, shared_options
from wheelyard.cli.command import CliGroup
from wheelyard.cli.history import history_lines, token_names
from wheelyard.cli.output import print_result
from wheelyard.cli.program import warn_of
from wheelyard.errors import Invalid
from wheelyard.model import grants
from wheelyard.model.access import describe_actions
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.operations.access_control import AccessList, GroupChange, ListedGrant
from wheelyard.wiring.build import index_without_store, open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import has_all_folders

EVEN_IF_OWN: Final = Option(
    ["--even-if-own"],
    is_flag=True,
    help="Go on if you are no administrator of the server afterwards.",
)
WHO: Final = Argument(["who"], nargs=-1, required=True)


@click.group("access", cls=CliGroup, page="access.md")
def access_command() -> None:
    """
    Grant and revoke rights, and explain who may do what, and why.

    They are kept in the store, and need no restart: every server on the store obeys a change within
    15 seconds.
    """


@access_command.subcommand(
    "grant",
    WHO,
    Option(
        ["--project", "projects"],
        multiple=True,
        required=True,
        metavar="PATTERN",
        help="acme-core, or acme-*, or '*' for every project; may be given again.",
    ),
    Option(
        ["--can"],
        required=True,
        help="read, upload, manage; approve (public packages); or admin, for every project.",
    ),
    shared_options.RIGHT_INDEXES,
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard access grant user:ana@acme.dev --project acme-core --can manage",
        "wheelyard access grant group:ml-team --project 'ml-*' --can upload",
        "wheelyard access grant group:release --project '*' --can upload --index prod",
    ),
    page="access.md",
)
def grant(who: tuple[str, ...], projects: tuple[str, ...], can: str, index: str, note: str) -> None:
    """
    Let WHO act on projects.

    WHO is written as in a [[grant]] of a file: user:ana@acme.dev, htpasswd:ml-ci, group:ml-team,
    or anonymous, which is everybody, and may read. A name that nobody has is a warning.
    Standard output has only the grant's id.

    Without --index it is about main, and a right to administer about all indexes.
    """
    actions = tuple(word.strip() for word in can.split(","))
    fields = grants.GrantFields(who=who, projects=projects, actions=actions, note=note, index=index)
    added_grant = command_context.open_api().call(access_operations.add_grant, fields)
    click.echo(escaped(f"Grant {added_grant.id}: {added_grant.text}"), err=True)
    warn_of(added_grant.warnings)
    # alone on standard output, so that a script can keep it, to revoke the grant by it
    click.echo(escaped(added_grant.id))


@access_command.subcommand(
    "revoke",
    Argument(["ids"], nargs=-1, required=True, metavar="ID..."),
    shared_options.NOTE,
    EVEN_IF_OWN,
    shared_options.INDEX,
    examples=(
        "wheelyard access revoke g1f0c92ab",
        "wheelyard access revoke g1f0c92ab g77d0e3c4 --note 'left the team'",
    ),
    page="access.md",
)
def revoke(ids: tuple[str, ...], note: str, *, even_if_own: bool) -> None:
    """
    Revoke grants, each by its id.

    'wheelyard access show' lists them. Every server on the store obeys within 15 seconds.
    """
    api = command_context.open_api()
    for grant_id in ids:
        revocation = access_operations.GrantRevocation(grant_id, note, even_if_own)
        api.call(access_operations.revoke_grant, revocation)
        click.echo(f"{grant_id}: revoked")


@click.group("group", cls=CliGroup, page="access.md")
def group() -> None:
    """Change groups."""


access_command.add_command(group)


@group.subcommand(
    "set",
    shared_options.NAME,
    Argument(["who"], nargs=-1),
    shared_options.NOTE,
    EVEN_IF_OWN,
    shared_options.INDEX,
    examples=(
        "wheelyard access group set ml-team htpasswd:ml-ci user:bo@acme.dev",
        "wheelyard access group set ml-team",
    ),
    page="access.md",
)
def set_group(name: str, who: tuple[str, ...], note: str, *, even_if_own: bool) -> None:
    """
    Make the group NAME, or replace its members, by WHO. It warns of names that nobody has.

    Without WHO it has no members.
    """
    _edit_group("set", name, who, note, even_if_own=even_if_own)


@group.subcommand(
    "add",
    shared_options.NAME,
    WHO,
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard access group add ml-team user:ana@acme.dev",
        "wheelyard access group add ml-team user:ana@acme.dev --note 'TEAM-12'",
    ),
    page="access.md",
)
def add_to_group(name: str, who: tuple[str, ...], note: str) -> None:
    """Add WHO to the group NAME. It warns of names that nobody has."""
    _edit_group("add", name, who, note)


@group.subcommand(
    "remove",
    shared_options.NAME,
    WHO,
    shared_options.NOTE,
    EVEN_IF_OWN,
    shared_options.INDEX,
    examples=(
        "wheelyard access group remove ml-team user:bo@acme.dev",
        "wheelyard access group remove ml-team user:bo@acme.dev --note TEAM-13",
    ),
    page="access.md",
)
def remove_from_group(name: str, who: tuple[str, ...], note: str, *, even_if_own: bool) -> None:
    """Remove WHO from the group NAME."""
    _edit_group("remove", name, who, note, even_if_own=even_if_own)


@group.subcommand(
    "delete",
    shared_options.NAME,
    shared_options.NOTE,
    EVEN_IF_OWN,
    shared_options.INDEX,
    examples=(
        "wheelyard access group delete ml-team",
        "wheelyard access group delete ml-team --note 'merged into research'",
    ),
    page="access.md",
)
def delete_group(name: str, note: str, *, even_if_own: bool) -> None:
    """
    Delete the group NAME.

    That is refused while a grant names it.
    """
    _edit_group("delete", name, (), note, even_if_own=even_if_own)


def _edit_group(
    change: GroupChange, name: str, who: tuple[str, ...], note: str, *, even_if_own: bool = False
) -> None:
    edit = access_operations.GroupEdit(change, name, who, note, even_if_own)
    edited = command_context.open_api().call(access_operations.edit_group, edit)
    # there is no answer without warnings
    if edited:
        warn_of(edited.warnings)


@access_command.subcommand(
    "show",
    shared_options.HISTORY,
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard access show",
        "wheelyard access show --history",
        "wheelyard access show --server https://packages.acme.dev",
    ),
    page="access.md",
)
def show(*, history: bool) -> None:
    """Print all grants and groups, and who added each, or from which file."""
    api = command_context.open_api()
    if history:
        commits = api.call(access_operations.access_history).commits
        changes = list[grants.AnyAccessEvent]()
        for commit in commits:
            changes += commit.events
        descriptions = map(grants.describe_event, changes)
        print_result({"changes": changes}, history_lines(api, changes, descriptions))
    else:
        access = api.call(access_operations.show_access)
        print_result(access, _access_lines(access, api))


def _access_lines(access: AccessList, api: command_context.Api) -> Iterator[str]:
    """Yield a line for each grant, and one for each group."""
    names_by_principal = token_names(api, {grant.created_by for grant in access.grants})
    group_names = {group.name for group in access.groups}
    for grant in access.grants:
        fields = grants.GrantFields(
            who=grant.who,
            projects=grant.projects,
            actions=grant.can,
            note=grant.note,
            index=grant.index,
        )
        text = grants.describe_fields(fields)
        missing_groups = grants.groups_in(grant.who) - group_names
        for name in sorted(missing_groups):
            text += f"; no group {name}"
        if not grant.names_index:
            text += f"; {shared_options.NAMES_NO_INDEX}"
        yield f"grant {grant.id} ({_origin(grant, names_by_principal)}): {text}"
    for group in access.groups:
        origin = f" (from {group.source})" if group.source else ""
        yield f"group {group.name}{origin}: {', '.join(group.members) or 'nobody'}"


def _origin(grant: ListedGrant, names_by_principal: Mapping[str, str]) -> str:
    author = grants.with_name(grant.created_by, names_by_principal.get(grant.created_by, ""))
    origin = f"{grant.created:%Y-%m-%d} by {author}"
    if grant.source:
        origin += f", from {grant.source}"
    return origin


@access_command.subcommand(
    "explain",
    Argument(["who"]),
    Argument(["project"]),
    Argument(["action"], type=click.Choice(list(grants.ACTIONS))),
    Option(["--index"], default="", metavar="NAME", help="In which index."),
    shared_options.INDEX,
    examples=(
        "wheelyard access explain user:ana@acme.dev acme-core upload",
        "wheelyard access explain token:x7Kq2mPz4A acme-core manage",
        "wheelyard access explain anonymous acme-core read",
    ),
    page="access.md",
)
def explain_access(who: str, project: str, action: access_operations.ActionWord, index: str) -> int:
    """
    Print whether WHO may do ACTION to PROJECT, and why.

    PROJECT need not exist. WHO is written as in a grant: user:ana@acme.dev, with commas for a
    caller with several principals (user:ana@acme.dev,domain:acme.dev), or token:ID, or anonymous. A
    service account is serviceAccount:EMAIL, and serviceAccount:EMAIL#NUMBER where its unique id
    counts. The exit status is 0 for yes, 1 for no.
    """
    with _usage_errors():
        name = parse_name(project)
    api: command_context.Api | None = command_context.remote_api()
    if api is None:
        index_to_explain = _index_to_explain(needs_store=who.startswith("token:"))
        api = command_context.local_api(index_to_explain)
    with _usage_errors():
        question = access_operations.AccessQuestion(who, name, action, index)
        explanation = api.call(access_operations.explain_access, question)
    verbs = describe_actions(grants.ACTIONS[action])
    place = f" in the index {index}" if index else ""
    if explanation.allowed:
        click.echo(f"yes: {who} may {verbs} {name}{place}")
    else:
        click.echo(f"no: {who} may not {verbs} {name}{place}")
    for reason in explanation.reasons:
        # if the answer is no, a reason is what the caller sees in place of the project
        text = reason if explanation.allowed else f"they see {reason}"
        click.echo(escaped(f"  {text}"))
    for hint in explanation.hints:
        click.echo(escaped(f"  {hint}"))
    return int(not explanation.allowed)


def _index_to_explain(*, needs_store: bool) -> Index:
    """Return the index of the store, or without a store if there is none and none is needed."""
    settings = command_context.command_settings()
    # left out if the file is missing on this machine: then it is not known who has a password
    if not Path(settings.access.htpasswd_file).is_file():
        settings = replace(settings, access=replace(settings.access, htpasswd_file=""))
    if needs_store or has_all_folders(settings):
        return open_index(settings, create=False)
    return index_without_store(settings)


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Raise UsageError in place of an Invalid of this block, as exit status 1 means "no"."""
    try:
        yield
    except Invalid as fault:
        raise click.UsageError(fault.message) from fault
