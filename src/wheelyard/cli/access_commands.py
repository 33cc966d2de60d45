"""`wheelyard access` and `wheelyard token`: who may do what."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, get_args

import click
from click import Argument, Option, Parameter
from msgspec.structs import asdict, replace

from wheelyard.api import access_operations
from wheelyard.api.project_operations import ClientProjectsQuery, client_projects
from wheelyard.authentication.api_tokens import require_token_id
from wheelyard.authentication.token_list import TokenOrder, TokenSelection
from wheelyard.cli import command_context, shared_options
from wheelyard.cli.command import CliGroup
from wheelyard.cli.history import history_lines, token_names
from wheelyard.cli.output import print_result
from wheelyard.cli.program import warn_of
from wheelyard.cli.quantities import parse_duration
from wheelyard.cli.standard_streams import show_token
from wheelyard.errors import Invalid
from wheelyard.model import grants
from wheelyard.model.access import (
    EVERY_PROJECT,
    Scope,
    describe_actions,
    describe_indexes,
    first_index,
    parse_actions,
    parse_pattern,
    parse_right_indexes,
)
from wheelyard.model.api_token import has_token_prefix, token_id_in
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.index_name import MAIN, bare_index_path
from wheelyard.operations.access_control import AccessList, GroupChange, ListedGrant
from wheelyard.rendering.ci_settings import SERVICES, ci_lines
from wheelyard.wiring.build import index_without_store, open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import has_store, system_runtime

EVEN_IF_OWN: Final = Option(
    ["--even-if-own"],
    is_flag=True,
    help="Go on if you are no administrator of the server afterwards.",
)
WHO: Final = Argument(["who"], nargs=-1, required=True)
UNNAMED: Final = "it names no index"
"""What a list says of a right of an earlier version."""


def _join_names(context: click.Context, option: Parameter, values: tuple[str, ...]) -> str:
    """Return the indexes of a right with commas between them, or nothing if none is named."""
    for value in values:
        shared_options.required_name(context, option, value)
    return ",".join(values)


INDEX_RIGHT: Final = Option(
    ["--index"],
    callback=_join_names,
    multiple=True,
    metavar="NAME",
    help="The indexes that it is about: dev,prod, or '*' for all; else main.",
)


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
    INDEX_RIGHT,
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
    made = command_context.open_api().call(access_operations.add_grant, fields)
    click.echo(escaped(f"Grant {made.id}: {made.text}"), err=True)
    warn_of(made.warnings)
    # alone on standard output, so that a script can keep it, to revoke the grant by it
    click.echo(escaped(made.id))


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
    # the answer is empty if there is nothing to warn of
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
        changes = list(chain.from_iterable(commit.events for commit in commits))
        descriptions = map(grants.describe_event, changes)
        print_result({"changes": changes}, history_lines(api, changes, descriptions))
    else:
        access = api.call(access_operations.show_access)
        print_result(access, _access_lines(access, api))


def _access_lines(access: AccessList, api: command_context.Api) -> Iterator[str]:
    names = token_names(api, {grant.created_by for grant in access.grants})
    groups = {group.name for group in access.groups}
    for listed in access.grants:
        fields = grants.GrantFields(
            who=listed.who,
            projects=listed.projects,
            actions=listed.can,
            note=listed.note,
            index=listed.index,
        )
        gone = "".join(
            f"; no group {name}" for name in sorted(grants.groups_in(listed.who) - groups)
        )
        text = f"{grants.describe_fields(fields)}{gone}"
        if not listed.names_index:
            text += f"; {UNNAMED}"
        yield f"grant {listed.id} ({_origin(listed, names)}): {text}"
    for group in access.groups:
        origin = f" (from {group.source})" if group.source else ""
        yield f"group {group.name}{origin}: {', '.join(group.members) or 'nobody'}"


def _origin(grant: ListedGrant, names: Mapping[str, str]) -> str:
    by = grants.with_name(grant.created_by, names.get(grant.created_by, ""))
    origin = f"{grant.created:%Y-%m-%d} by {by}"
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
    api = command_context.remote_api() or command_context.local_api(
        _index(needs_store=who.startswith("token:"))
    )
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
        # without the right, the reasons say what the caller gets in place of the project
        text = reason if explanation.allowed else f"they see {reason}"
        click.echo(escaped(f"  {text}"))
    for hint in explanation.hints:
        click.echo(escaped(f"  {hint}"))
    return int(not explanation.allowed)


def _index(*, needs_store: bool) -> Index:
    """Return the index, without a store if there is none, unless `needs_store`."""
    settings = command_context.command_settings()
    # the file may be missing on this machine: then nobody can say who has a password
    if not Path(settings.access.htpasswd_file).is_file():
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


@click.group("token", cls=CliGroup, page="tokens.md")
def token_command() -> None:
    """Create, list, rotate and revoke API tokens."""


@token_command.subcommand(
    "create",
    Argument(["name"]),
    Option(
        ["--can"],
        default="read,upload",
        show_default=True,
        help="read, upload, manage, approve, admin.",
    ),
    shared_options.PROJECT_PATTERNS,
    Option(["--expires"], default="90d", show_default=True, help="12h, 30d, 8w."),
    Option(
        ["--owner"],
        metavar="WHO",
        help=(
            "htpasswd:NAME, oidc:PROVIDER:NAME, or user:EMAIL or serviceAccount:EMAIL, and "
            "with a comma domain:DOMAIN: it opens nothing that is not open to them, and ends "
            "with them."
        ),
    ),
    Option(
        ["--for-ci", "ci"],
        type=click.Choice(sorted(SERVICES)),
        help="Print the lines for this CI service on standard error.",
    ),
    INDEX_RIGHT,
    shared_options.INDEX,
    examples=(
        "wheelyard token create ci --project 'acme-*' --expires 30d",
        "wheelyard token create ci-of-core --project acme-core --for-ci github",
        "wheelyard token create ana --can manage --owner user:ana@acme.dev",
    ),
    page="tokens.md",
)
def create(  # noqa: PLR0913, PLR0917 - one for each option
    name: str,
    can: str,
    projects: tuple[str, ...],
    expires: str,
    owner: str | None,
    ci: str | None,
    index: str,
) -> None:
    """
    Create a token called NAME.

    Standard output has only the token. Without --index it is about main, and one with admin about
    all indexes.
    """
    lifetime = parse_duration(expires)
    days: int | None
    days, rest = divmod(lifetime, timedelta(days=1))
    end = None
    # a server counts whole days by its own clock, and any other time needs one of this machine
    if rest:
        days = None
        end = system_runtime().now() + lifetime
    new_token = access_operations.NewToken(
        name=name,
        projects=tuple(map(parse_pattern, projects)) or (EVERY_PROJECT,),
        can=tuple(can.split(",")),
        days=days,
        expires=end,
        owner=owner,
        index=index,
    )
    indexes = parse_right_indexes(index, parse_actions(can.split(","), admin=True))
    api = command_context.remote_api() or command_context.local_api(_index_for_tokens())
    lines_for = None
    if ci is not None:
        # asked first, so that no token is made if there is no answer
        lines_for = _ci_lines(ci, indexes, api)
    made = api.call(access_operations.create_token, new_token)
    # the token alone is on standard output, so that a pipe can take it
    click.echo(_announcement(made), err=True)
    with show_token(made.id):
        click.echo(made.token)
    if lines_for is not None:
        click.echo(f"\n{lines_for(made.scope)}", err=True, nl=False)


def _ci_lines(
    ci: str, indexes: tuple[str, ...], api: command_context.Api
) -> Callable[[Scope], str]:
    """Return what makes the lines for a CI service, of the first index that a token is about."""
    first = first_index(indexes)
    placed = api if first == MAIN else command_context.open_api(first)
    clients = placed.call(client_projects, ClientProjectsQuery())
    return partial(
        ci_lines,
        SERVICES[ci],
        url=placed.url,
        index=bare_index_path(first),
        serves_public=clients.serves_public,
        takes_uploads=clients.takes_uploads,
    )


@token_command.subcommand(
    "list",
    Option(
        ["--search"],
        default="",
        metavar="TEXT",
        help="A part of the name, the id, the owner, the maker or a project.",
    ),
    Option(["--owner"], default="", metavar="WHO", help="Only those of this principal."),
    Option(["--project"], default="", metavar="NAME", help="Only those that are for this project."),
    Option(
        ["--state"],
        type=click.Choice(get_args(TokenSelection)),
        help="A state; or expiring (within 14 days), unused (for 90 days), owner-gone.",
    ),
    Option(
        ["--sort"],
        type=click.Choice(get_args(TokenOrder)),
        default="created",
        help="By what they are sorted, with a minus the greatest first.",
    ),
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard token list",
        "wheelyard token list --state unused --sort used",
        "wheelyard token list --json",
    ),
    page="tokens.md",
)
def list_tokens(
    search: str, owner: str, project: str, state: TokenSelection | None, sort: TokenOrder
) -> None:
    """
    List the tokens, without their secrets.

    Inactive tokens of CI jobs are left out.
    """
    # the expired tokens of CI jobs: there may be thousands that have not been swept yet
    wanted = access_operations.TokensQuery(
        search=search, owner=owner, project=project, state=state, sort=sort
    )
    tokens = command_context.open_api().call(access_operations.list_tokens, wanted).tokens
    listed = [token for token in tokens if not token.publishers or token.state == "active"]
    names = {f"token:{token.id}": token.name for token in tokens}
    described = [_described(token, names) for token in listed]
    columns = ("Id", "Name", "May", "Until", "Use", "State", "Origin")
    print_result({"tokens": described}, _token_lines(listed, names), columns)


def _token_lines(
    tokens: Sequence[access_operations.TokenAnswer], names: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    for token in tokens:
        used = f"last used {token.last_used}" if token.last_used else "never used"
        by = grants.with_name(token.created_by, names.get(token.created_by, ""))
        columns = [token.id, token.name, _scope_text(token), _expiry(token), used]
        columns += [token.state, f"made by {by}"]
        if token.replaced_by:
            columns.append(f"replaced by {token.replaced_by}")
        elif token.revoked_by:
            revoked_by = grants.with_name(token.revoked_by, names.get(token.revoked_by, ""))
            columns.append(f"revoked by {revoked_by}")
        elif token.publishers:
            columns.append("minted")
        if not token.names_index:
            columns.append(UNNAMED)
        columns += token.marks
        yield tuple(columns)


@token_command.subcommand(
    "rotate",
    Argument(["token"], metavar="NAME|ID"),
    Option(
        ["--overlap"],
        default="24h",
        show_default=True,
        help="How long the old token lives on: 30m, 1h, 7d; 0 ends it at once.",
    ),
    shared_options.INDEX,
    examples=(
        "wheelyard token rotate ci",
        "wheelyard token rotate x7Kq2mPz4A --overlap 1h",
        "wheelyard token rotate ci | gh secret set WHEELYARD_TOKEN",
    ),
    page="tokens.md",
)
def rotate_token(token: str, overlap: str) -> None:
    """
    Replace a token by a new one with the same name, rights and lifetime.

    Standard output has only the new token. The old one expires when --overlap has passed, or
    earlier by itself.
    """
    old_lifetime = timedelta(0)
    if overlap != "0":
        old_lifetime = parse_duration(overlap)
    rotation = access_operations.TokenRotation(_named(token), old_lifetime / timedelta(hours=1))
    made = command_context.open_api().call(access_operations.rotate_token, rotation)
    old = made.replaces
    end = "is revoked" if old.revoked else f"ends {_expiry(old)}"
    click.echo(f"{old.id} {end}; instead of it:", err=True)
    click.echo(_announcement(made), err=True)
    with show_token(made.id):
        click.echo(made.token)


@token_command.subcommand(
    "change",
    Argument(["token"], metavar="NAME|ID"),
    Option(
        ["--index"],
        required=True,
        multiple=True,
        callback=_join_names,
        metavar="NAME",
        help="prod, or dev,prod, or '*' for all.",
    ),
    shared_options.INDEX,
    examples=(
        "wheelyard token change ci --index main,dev",
        "wheelyard token change x7Kq2mPz4A --index '*'",
    ),
    page="tokens.md",
)
def change_token(token: str, index: str) -> None:
    """Have a token be about other indexes, with the same rights there."""
    changed = command_context.open_api().call(
        access_operations.change_token, access_operations.TokenChange(_named(token), index)
    )
    click.echo(escaped(f"{changed.id}: {_scope_text(changed)}"))


def _named(token: str) -> str:
    """Return the name or the id of a token. Of a token in full, its id."""
    # the secret of a token is in no request: a server or a proxy might log it
    if token_id_in(token) is None and not has_token_prefix(token):
        return token
    return require_token_id(token)


@token_command.subcommand(
    "revoke",
    Argument(["ids"], nargs=-1, required=True, metavar="ID..."),
    shared_options.INDEX,
    examples=(
        "wheelyard token revoke x7Kq2mPz4A",
        "wheelyard token revoke x7Kq2mPz4A --server https://packages.acme.dev",
    ),
    page="tokens.md",
)
def revoke_tokens(ids: tuple[str, ...]) -> None:
    """
    Revoke tokens, each given by its id or in full.

    By default, every server refuses a revoked token within 15 seconds.
    """
    api = command_context.open_api()
    for token_id in map(require_token_id, ids):
        api.call(access_operations.revoke_token, token_id)
        click.echo(f"{token_id}: revoked")


def _index_for_tokens() -> Index:
    """Return the index of the store, which is only made if the user names it."""
    if command_context.is_store_given():
        return command_context.ensure_index(command_context.command_settings())
    return command_context.existing_index()


def _announcement(token: access_operations.TokenAnswer) -> str:
    return escaped(f"Token {token.id}, {_scope_text(token)}, until {_expiry(token)}:")


def _scope_text(token: access_operations.TokenAnswer) -> str:
    owner = f", limited to what {token.owner} may" if token.owner else ""
    place = describe_indexes(token.scope.indexes)
    return f"{','.join(token.can)} on {','.join(token.projects)} in {place}{owner}"


def _expiry(token: access_operations.TokenAnswer) -> str:
    return token.expires.strftime("%Y-%m-%d %H:%M UTC")


def _described(token: access_operations.TokenAnswer, names: Mapping[str, str]) -> dict[str, object]:
    by_name = names.get(token.created_by, "")
    return asdict(token) | {"owner": token.owner or "", "created_by_name": by_name}
