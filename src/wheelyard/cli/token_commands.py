"""`wheelyard token`: API tokens are created, listed, rotated, changed and revoked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import get_args

import click
from click import Argument, Option
from msgspec.structs import asdict

from wheelyard.api import access_operations
from wheelyard.api.project_operations import ClientProjectsQuery, client_projects
from wheelyard.authentication.api_tokens import require_token_id
from wheelyard.authentication.token_list import TokenOrder, TokenSelection
from wheelyard.cli import command_context, shared_options
from wheelyard.cli.command import CliGroup
from wheelyard.cli.output import print_result
from wheelyard.cli.quantities import parse_duration
from wheelyard.cli.standard_streams import show_token
from wheelyard.errors import Invalid
from wheelyard.model import grants
from wheelyard.model.access import (
    EVERY_PROJECT,
    Scope,
    describe_indexes,
    first_index,
    parse_actions,
    parse_pattern,
    parse_right_indexes,
)
from wheelyard.model.api_token import has_token_prefix, token_id_in
from wheelyard.model.decoding import escaped
from wheelyard.model.index_name import MAIN, bare_index_path
from wheelyard.rendering.ci_settings import SERVICES, ci_lines
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime


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
    shared_options.RIGHT_INDEXES,
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
    days, expiry_time = _days_or_expiry(parse_duration(expires))
    patterns = tuple(parse_pattern(project) for project in projects)
    new_token = access_operations.NewToken(
        name=name,
        projects=patterns or (EVERY_PROJECT,),
        can=tuple(can.split(",")),
        days=days,
        expires=expiry_time,
        owner=owner,
        index=index,
    )
    actions = parse_actions(can.split(","), admin=True)
    indexes = parse_right_indexes(index, actions)
    api: command_context.Api | None = command_context.remote_api()
    if api is None:
        api = command_context.local_api(_index_for_tokens())
    make_ci_lines = None
    if ci is not None:
        # asked before the token is made, as there may be no answer
        make_ci_lines = _ci_line_maker(ci, indexes, api)
    made_token = api.call(access_operations.create_token, new_token)

    # the token alone is on standard output, so that a pipe can take it
    click.echo(_announcement(made_token), err=True)
    with show_token(made_token.id):
        click.echo(made_token.token)
    if make_ci_lines is not None:
        click.echo(f"\n{make_ci_lines(made_token.scope)}", err=True, nl=False)


def _days_or_expiry(lifetime: timedelta) -> tuple[int | None, datetime | None]:
    """
    Return a lifetime as a number of days, or if it has a part of a day, the time of its end.

    Raises Invalid (code `invalid_field`) for a lifetime of no time.
    """
    if not lifetime:
        message = "A token lives longer than that. Write 30m, 12h, 90d or 8w."
        raise Invalid(message, code="invalid_field")
    days, part_of_day = divmod(lifetime, timedelta(days=1))
    # a server counts whole days by its own clock; other lifetimes need the clock of this machine
    if part_of_day:
        return None, system_runtime().now() + lifetime
    return days, None


def _ci_line_maker(
    ci: str, indexes: tuple[str, ...], api: command_context.Api
) -> Callable[[Scope], str]:
    """
    Return a function that makes the lines for a CI service from the scope of a token.

    The lines are about the first of the token's indexes.
    """
    index_name = first_index(indexes)
    index_api = api if index_name == MAIN else command_context.open_api(index_name)
    clients = index_api.call(client_projects, ClientProjectsQuery())
    return partial(
        ci_lines,
        SERVICES[ci],
        url=index_api.url,
        index=bare_index_path(index_name),
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
    query = access_operations.TokensQuery(
        search=search, owner=owner, project=project, state=state, sort=sort
    )
    tokens = command_context.open_api().call(access_operations.list_tokens, query).tokens
    # inactive tokens of CI jobs are left out, as thousands may wait for the sweep
    shown_tokens = [token for token in tokens if not token.publishers or token.state == "active"]
    names_by_principal = {f"token:{token.id}": token.name for token in tokens}
    tokens_json = [_token_json(token, names_by_principal) for token in shown_tokens]
    columns = ("Id", "Name", "May", "Until", "Use", "State", "Origin")
    print_result({"tokens": tokens_json}, _token_lines(shown_tokens, names_by_principal), columns)


def _token_lines(
    tokens: Sequence[access_operations.TokenAnswer], names_by_principal: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    for token in tokens:
        used = f"last used {token.last_used}" if token.last_used else "never used"
        author = grants.with_name(token.created_by, names_by_principal.get(token.created_by, ""))
        columns = [token.id, token.name, _scope_text(token), _expiry(token), used]
        columns += [token.state, f"made by {author}"]
        if token.replaced_by:
            columns.append(f"replaced by {token.replaced_by}")
        elif token.revoked_by:
            revoked_by = grants.with_name(
                token.revoked_by, names_by_principal.get(token.revoked_by, "")
            )
            columns.append(f"revoked by {revoked_by}")
        elif token.publishers:
            columns.append("minted")
        if not token.names_index:
            columns.append(shared_options.NAMES_NO_INDEX)
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
    rotation = access_operations.TokenRotation(
        _name_or_id(token), old_lifetime / timedelta(hours=1)
    )
    new_token = command_context.open_api().call(access_operations.rotate_token, rotation)
    old_token = new_token.replaces
    fate = "is revoked" if old_token.revoked else f"ends {_expiry(old_token)}"
    click.echo(f"{old_token.id} {fate}; instead of it:", err=True)
    click.echo(_announcement(new_token), err=True)
    with show_token(new_token.id):
        click.echo(new_token.token)


@token_command.subcommand(
    "change",
    Argument(["token"], metavar="NAME|ID"),
    Option(
        ["--index"],
        required=True,
        multiple=True,
        callback=shared_options.join_index_names,
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
        access_operations.change_token, access_operations.TokenChange(_name_or_id(token), index)
    )
    click.echo(escaped(f"{changed.id}: {_scope_text(changed)}"))


def _name_or_id(token: str) -> str:
    """Return the name or the id of a token, or the id of a token that is given in full."""
    # the secret of a token must be in no request, which a server or a proxy may log
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
    """Return the index of the store, which is made only if the user names the store."""
    if command_context.is_store_given():
        return command_context.ensure_index(command_context.command_settings())
    return command_context.existing_index()


def _announcement(token: access_operations.TokenAnswer) -> str:
    """Return the line before a new token: its id, what it may do, and when it expires."""
    return escaped(f"Token {token.id}, {_scope_text(token)}, until {_expiry(token)}:")


def _scope_text(token: access_operations.TokenAnswer) -> str:
    owner = f", limited to what {token.owner} may" if token.owner else ""
    place = describe_indexes(token.scope.indexes)
    return f"{','.join(token.can)} on {','.join(token.projects)} in {place}{owner}"


def _expiry(token: access_operations.TokenAnswer) -> str:
    return token.expires.strftime("%Y-%m-%d %H:%M UTC")


def _token_json(
    token: access_operations.TokenAnswer, names_by_principal: Mapping[str, str]
) -> dict[str, object]:
    """Return a token as `--json` prints it."""
    author_name = names_by_principal.get(token.created_by, "")
    return asdict(token) | {"owner": token.owner or "", "created_by_name": author_name}
