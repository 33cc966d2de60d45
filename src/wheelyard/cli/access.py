"""`wheelyard access`: grants and groups in the store; who may do what, and why."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import click
from click import Argument, Option
from msgspec.structs import replace

from wheelyard.api import access
from wheelyard.api.access import AccessQuestion, ActionWord, GrantRevocation, GroupEdit
from wheelyard.api.projects import After
from wheelyard.cli.command import JSON, CliGroup
from wheelyard.cli.options import INDEX, Api, command_settings, history_lines, open_api, token_names
from wheelyard.cli.output import print_result, warn
from wheelyard.errors import Invalid
from wheelyard.model.access import describe_actions
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import (
    ACTIONS,
    GrantFields,
    describe_event,
    describe_fields,
    groups_in,
    with_name,
)
from wheelyard.operations.access_control import AccessList, GroupChange, ListedGrant
from wheelyard.wiring.index import Index, index_without_store, open_index
from wheelyard.wiring.stores import has_store

NOTE: Final = Option(["--note"], default="", help="Why; the history shows it.")
NAME: Final = Argument(["name"])
WHO: Final = Argument(["who"], nargs=-1, required=True)


@click.group("access", cls=CliGroup)
def access_command() -> None:
    """
    Grant and revoke rights, and explain who may do what, and why.

    Grants and groups of the store add to those of the settings, and need no restart: every server
    on the store obeys a change within 15 seconds.

    Documentation: docs/access.md
    """


@access_command.subcommand(
    "grant",
    WHO,
    Option(["--project", "projects"], multiple=True, required=True, metavar="PATTERN"),
    Option(["--can"], required=True),
    NOTE,
    *INDEX,
)
def grant(who: tuple[str, ...], projects: tuple[str, ...], can: str, note: str) -> None:
    """
    Let WHO act on projects; standard output has only the grant's id.

    WHO is written as in a [[grant]] of the settings: user:ana@acme.dev, htpasswd:ml-ci,
    group:ml-team. It cannot be anonymous.

    Options:
        --project: acme-core, or acme-*, or '*' for every project; may be given again.
        --can: read, upload, manage; or admin, for every project.

    Examples:
        wheelyard access grant user:ana@acme.dev --project acme-core --can manage
        wheelyard access grant group:ml-team --project 'ml-*' --can upload
        wheelyard access grant user:bo@acme.dev --project '*' --can admin

    Documentation: docs/access.md
    """
    actions = tuple(word.strip() for word in can.split(","))
    fields = GrantFields(who=who, projects=projects, actions=actions, note=note)
    made = open_api().call(access.add_grant, fields)
    click.echo(escaped(f"Grant {made.id}: {made.text}"), err=True)
    for sentence in made.warnings:
        warn(sentence)
    click.echo(escaped(made.id))


@access_command.subcommand(
    "revoke", Argument(["ids"], nargs=-1, required=True, metavar="ID..."), NOTE, *INDEX
)
def revoke(ids: tuple[str, ...], note: str) -> None:
    """
    Revoke grants of the store, each by its id; 'wheelyard access show' lists them.

    Every server on the store obeys within 15 seconds.

    Examples:
        wheelyard access revoke g1f0c92ab
        wheelyard access revoke g1f0c92ab g77d0e3c4 --note 'left the team'

    Documentation: docs/access.md
    """
    api = open_api()
    for grant_id in ids:
        api.call(access.revoke_grant, GrantRevocation(grant_id, note))
        click.echo(f"{grant_id}: revoked")


@click.group("group", cls=CliGroup)
def group() -> None:
    """
    Change the groups of the store.

    If the settings have a group of the same name, its members are those of both.

    Documentation: docs/access.md
    """


access_command.add_command(group)


@group.subcommand("set", NAME, Argument(["who"], nargs=-1), NOTE, *INDEX)
def set_group(name: str, who: tuple[str, ...], note: str) -> None:
    """
    Make the group NAME, or replace its members, by WHO; without WHO it has no members.

    Examples:
        wheelyard access group set ml-team htpasswd:ml-ci user:bo@acme.dev
        wheelyard access group set ml-team

    Documentation: docs/access.md
    """
    _edit_group("set", name, who, note)


@group.subcommand("add", NAME, WHO, NOTE, *INDEX)
def add_to_group(name: str, who: tuple[str, ...], note: str) -> None:
    """
    Add WHO to the group NAME.

    Examples:
        wheelyard access group add ml-team user:ana@acme.dev
        wheelyard access group add ml-team user:ana@acme.dev --note 'TEAM-12'

    Documentation: docs/access.md
    """
    _edit_group("add", name, who, note)


@group.subcommand("remove", NAME, WHO, NOTE, *INDEX)
def remove_from_group(name: str, who: tuple[str, ...], note: str) -> None:
    """
    Remove WHO from the group NAME.

    Examples:
        wheelyard access group remove ml-team user:bo@acme.dev
        wheelyard access group remove ml-team user:bo@acme.dev --note TEAM-13

    Documentation: docs/access.md
    """
    _edit_group("remove", name, who, note)


@group.subcommand("delete", NAME, NOTE, *INDEX)
def delete_group(name: str, note: str) -> None:
    """
    Delete the group NAME from the store; refused while a grant of the store names it.

    Examples:
        wheelyard access group delete ml-team
        wheelyard access group delete ml-team --note 'merged into research'

    Documentation: docs/access.md
    """
    _edit_group("delete", name, (), note)


def _edit_group(change: GroupChange, name: str, who: tuple[str, ...], note: str) -> None:
    open_api().call(access.edit_group, GroupEdit(change, name, who, note))


@access_command.subcommand("show", Option(["--history"], is_flag=True), JSON, *INDEX)
def show(*, history: bool) -> None:
    """
    Print all grants and groups, and whether each is in the settings or in the store.

    Options:
        --history: The changes in the store: who, when, what and why.

    Examples:
        wheelyard access show
        wheelyard access show --history
        wheelyard access show --server https://packages.acme.dev

    Documentation: docs/access.md
    """
    api = open_api()
    if history:
        commits = api.call(access.access_history, After()).commits
        changes = [event for commit in commits for event in commit.events]
        print_result({"changes": changes}, history_lines(api, changes, describe_event))
    else:
        found = api.call(access.show_access)
        print_result(found, _access_lines(found, api))


def _access_lines(found: AccessList, api: Api) -> Iterator[str]:
    names = token_names(api, {each.created_by for each in found.grants})
    known = {each.name for each in found.groups}
    for each in found.grants:
        fields = GrantFields(who=each.who, projects=each.projects, actions=each.can, note=each.note)
        gone = "".join(f"; no group {name}" for name in sorted(groups_in(each.who) - known))
        yield f"grant {each.id} ({_origin(each, names)}): {describe_fields(fields)}{gone}"
    for one in found.groups:
        yield f"group {one.name} ({one.source}): {', '.join(one.members) or 'nobody'}"


def _origin(grant: ListedGrant, names: Mapping[str, str]) -> str:
    if grant.created is None:
        return grant.source
    by = with_name(grant.created_by, names.get(grant.created_by, ""))
    return f"{grant.source}, {grant.created:%Y-%m-%d} by {by}"


@access_command.subcommand(
    "explain",
    Argument(["who"]),
    Argument(["project"]),
    Argument(["action"], type=click.Choice(list(ACTIONS))),
    *INDEX,
)
def explain_access(who: str, project: str, action: ActionWord) -> int:
    """
    Print whether WHO may do ACTION to PROJECT, and why; exit 0 for yes, 1 for no.

    PROJECT need not exist. WHO is written as in a grant: user:ana@acme.dev, with commas for a
    caller with several principals (user:ana@acme.dev,domain:acme.dev); or token:ID, or anonymous. A
    service account is serviceAccount:EMAIL, and serviceAccount:EMAIL#NUMBER where its unique id
    counts.

    Examples:
        wheelyard access explain user:ana@acme.dev acme-core upload
        wheelyard access explain token:x7Kq2mPz4A acme-core manage
        wheelyard access explain anonymous acme-core read

    Documentation: docs/access.md
    """
    with _usage_errors():
        name = parse_name(project)
    api = open_api(lambda: _index(needs_store=who.startswith("token:")))
    with _usage_errors():
        found = api.call(access.explain_access, AccessQuestion(who, name, action))
    may = "may" if found.allowed else "may not"
    verbs = describe_actions(ACTIONS[action])
    click.echo(f"{'yes' if found.allowed else 'no'}: {who} {may} {verbs} {name}")
    for reason in found.reasons:
        click.echo(escaped(f"  {reason}" if found.allowed else f"  they see {reason}"))
    for hint in found.hints:
        click.echo(escaped(f"  {hint}"))
    return 0 if found.allowed else 1


def _index(*, needs_store: bool) -> Index:
    """Return the index; that of the settings alone if there is no store, unless `needs_store`."""
    settings = command_settings()
    # grants do not depend on passwords, and the file may be missing here
    settings = replace(settings, access=replace(settings.access, htpasswd_file=""))
    if needs_store or has_store(settings):
        return open_index(settings, create=False)
    return index_without_store(settings)


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Raise UsageError (exit status 2) for Invalid in this block, as exit status 1 means "no"."""
    try:
        yield
    except Invalid as fault:
        raise click.UsageError(fault.message) from fault
