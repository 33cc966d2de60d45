"""`wheelyard access`: grants and groups in the store; who may do what, and why."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec.json import encode
from msgspec.structs import replace

from wheelyard.api import access
from wheelyard.api.access import AccessQuestion, ActionWord, GrantRevocation, GroupEdit
from wheelyard.api.projects import After
from wheelyard.catalog import keys
from wheelyard.cli.api import managed_options, open_api, token_names
from wheelyard.cli.help_text import examples
from wheelyard.cli.options import command_settings
from wheelyard.cli.output import warn
from wheelyard.errors import Invalid, Unavailable
from wheelyard.model.access_rules import describe_event, describe_fields
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import (
    ACTIONS,
    GrantFields,
    describe_actions,
    groups_in,
)
from wheelyard.model.principals import with_name
from wheelyard.model.text import escaped
from wheelyard.operations.access_control import AccessList, GroupChange, ListedGrant
from wheelyard.settings.sections import MEMORY_LOCATION
from wheelyard.storage.location import is_bucket
from wheelyard.wiring.index import Index, index_without_store, open_index

with_note = click.option("--note", default="", help="Why; the history shows it.")


@examples("access.md")
@click.group("access")
def command() -> None:
    """
    Grant and revoke rights, and explain who may do what, and why.

    Grants and groups of the store add to those of the settings, and need no restart: every server
    on the store obeys a change within 15 seconds.
    """


@examples(
    "access.md",
    "wheelyard access grant user:ana@acme.dev --project acme-core --can manage",
    "wheelyard access grant group:ml-team --project 'ml-*' --can upload",
    "wheelyard access grant user:bo@acme.dev --project '*' --can admin",
)
@command.command("grant")
@click.argument("who", nargs=-1, required=True)
@click.option(
    "--project",
    "projects",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="acme-core, or acme-*, or '*' for every project; may be given again.",
)
@click.option("--can", required=True, help="read, upload, manage; or admin, for every project.")
@with_note
@managed_options
def grant(who: tuple[str, ...], projects: tuple[str, ...], can: str, note: str) -> None:
    """
    Let WHO act on projects; standard output has only the grant's id.

    WHO is written as in a [[grant]] of the settings: user:ana@acme.dev, htpasswd:ml-ci,
    group:ml-team. It cannot be anonymous.
    """
    actions = tuple(word.strip() for word in can.split(","))
    fields = GrantFields(who=who, projects=projects, actions=actions, note=note)
    made = open_api().call(access.add_grant, fields)
    click.echo(escaped(f"Grant {made.id}: {made.text}"), err=True)
    for sentence in made.warnings:
        warn(sentence)
    click.echo(escaped(made.id))


@examples(
    "access.md",
    "wheelyard access revoke g1f0c92ab",
    "wheelyard access revoke g1f0c92ab g77d0e3c4 --note 'left the team'",
)
@command.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@with_note
@managed_options
def revoke(ids: tuple[str, ...], note: str) -> None:
    """
    Revoke grants of the store, each by its id; 'wheelyard access show' lists them.

    Every server on the store obeys within 15 seconds.
    """
    api = open_api()
    for grant_id in ids:
        api.call(access.revoke_grant, GrantRevocation(grant_id, note))
        click.echo(f"{grant_id}: revoked")


@examples("access.md")
@command.group("group")
def group() -> None:
    """
    Change the groups of the store.

    If the settings have a group of the same name, its members are those of both.
    """


def _add_group_command(change: GroupChange, what: str, *lines: str) -> None:
    @examples("access.md", *lines)
    @group.command(change, help=what)
    @click.argument("name")
    @click.argument("who", nargs=-1, required=change != "set")
    @with_note
    @managed_options
    def command(name: str, who: tuple[str, ...], note: str) -> None:
        open_api().call(access.edit_group, GroupEdit(change, name, who, note))


_add_group_command(
    "set",
    "Make the group NAME, or replace its members, by WHO; without WHO it has no members.",
    "wheelyard access group set ml-team htpasswd:ml-ci user:bo@acme.dev",
    "wheelyard access group set ml-team",
)
_add_group_command(
    "add",
    "Add WHO to the group NAME.",
    "wheelyard access group add ml-team user:ana@acme.dev",
    "wheelyard access group add ml-team user:ana@acme.dev --note 'TEAM-12'",
)
_add_group_command(
    "remove",
    "Remove WHO from the group NAME.",
    "wheelyard access group remove ml-team user:bo@acme.dev",
    "wheelyard access group remove ml-team user:bo@acme.dev --note TEAM-13",
)


@examples(
    "access.md",
    "wheelyard access group delete ml-team",
    "wheelyard access group delete ml-team --note 'merged into research'",
)
@group.command("delete")
@click.argument("name")
@with_note
@managed_options
def delete_group(name: str, note: str) -> None:
    """Delete the group NAME from the store; refused while a grant of the store names it."""
    open_api().call(access.edit_group, GroupEdit("delete", name, note=note))


@examples(
    "access.md",
    "wheelyard access show",
    "wheelyard access show --history",
    "wheelyard access show --server https://packages.acme.dev",
)
@command.command("show")
@click.option("--history", is_flag=True, help="The changes in the store: who, when, what and why.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@managed_options
def show(*, history: bool, as_json: bool) -> None:
    """Print all grants and groups, and whether each is in the settings or in the store."""
    api = open_api()
    if history:
        changes = [commit.event for commit in api.call(access.access_history, After()).commits]
        if as_json:
            click.echo(encode({"changes": changes}))
            return
        names = token_names(api, {event.by for event in changes})
        for event in changes:
            by = with_name(event.by, names.get(event.by, ""))
            columns = (f"{event.at:%Y-%m-%d %H:%M:%S} UTC", by, describe_event(event))
            click.echo("\t".join(map(escaped, columns)))
        return
    found = api.call(access.show_access)
    if as_json:
        click.echo(encode(found))
        return
    names = token_names(api, {each.created_by for each in found.grants})
    for line in _lines(found, names):
        click.echo(escaped(line))


def _lines(found: AccessList, names: Mapping[str, str]) -> Iterator[str]:
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


@examples(
    "access.md",
    "wheelyard access explain user:ana@acme.dev acme-core upload",
    "wheelyard access explain token:x7Kq2mPz4A acme-core manage",
    "wheelyard access explain anonymous acme-core read",
)
@command.command("explain")
@click.argument("who")
@click.argument("project")
@click.argument("action", type=click.Choice(list(ACTIONS)))
@managed_options
def explain_access(who: str, project: str, action: ActionWord) -> int:
    """
    Print whether WHO may do ACTION to PROJECT, and why; exit 0 for yes, 1 for no.

    PROJECT need not exist. WHO is written as in a grant: user:ana@acme.dev, with commas for a
    caller with several principals (user:ana@acme.dev,domain:acme.dev); or token:ID, or anonymous. A
    service account is serviceAccount:EMAIL, and serviceAccount:EMAIL#NUMBER where its unique id
    counts.
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
    """
    Return the index; one of the settings alone if there is no store yet.

    The same, with a warning, if the store cannot be opened. With `needs_store` raise instead.
    """
    settings = command_settings()
    # grants do not depend on passwords, and the file may be missing here
    settings = replace(settings, access=replace(settings.access, htpasswd_file=""))
    location = settings.store.location
    is_folder = not is_bucket(location) and location != MEMORY_LOCATION
    if needs_store or not is_folder or Path(location, keys.FORMAT).is_file():
        try:
            return open_index(settings, create=False)
        except (Invalid, Unavailable) as fault:
            if needs_store:
                raise
            warn(f"the grants in the store are left out here: {fault.message}")
    return index_without_store(settings)


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Raise UsageError (exit status 2) for Invalid in this block, as exit status 1 means "no"."""
    try:
        yield
    except Invalid as fault:
        raise click.UsageError(fault.message) from fault
