"""`wheelyard token`: create, list, rotate and revoke API tokens."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import click
from click import Argument, Option
from msgspec.structs import asdict

from wheelyard.api import tokens
from wheelyard.api.projects import ClientProjectsQuery, client_projects
from wheelyard.api.tokens import NewToken, TokenAnswer, TokenRotation
from wheelyard.authentication.api_tokens import require_token_id
from wheelyard.cli.command import JSON, CliGroup
from wheelyard.cli.options import (
    INDEX,
    command_settings,
    ensure_index,
    existing_index,
    is_store_given,
    open_api,
)
from wheelyard.cli.output import parse_duration, print_result, show_token
from wheelyard.model.access import EVERY_PROJECT, Scope, parse_actions, parse_pattern
from wheelyard.model.decoding import escaped
from wheelyard.model.grants import with_name
from wheelyard.model.token import has_token_prefix, token_id_in
from wheelyard.rendering.ci_settings import SERVICES, ci_lines
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime


@click.group("token", cls=CliGroup)
def token_command() -> None:
    """
    Create, list, rotate and revoke API tokens.

    Documentation: docs/tokens.md
    """


@token_command.subcommand(
    "create",
    Argument(["name"]),
    Option(["--can"], default="read,upload", show_default=True),
    Option(["--project", "projects"], multiple=True, metavar="PATTERN"),
    Option(["--expires"], default="90d", show_default=True),
    Option(["--owner"], metavar="WHO"),
    Option(["--for-ci", "ci"], type=click.Choice(sorted(SERVICES))),
    *INDEX,
)
def create(
    name: str,
    can: str,
    projects: tuple[str, ...],
    expires: str,
    owner: str | None,
    ci: str | None,
) -> None:
    """
    Create a token called NAME; standard output has only the token.

    Options:
        --can: read, upload, manage, admin.
        --project: acme-core, or acme-*; may be given again.  [default: every project]
        --expires: 12h, 30d, 8w.
        --owner: user:EMAIL or serviceAccount:EMAIL, and with a comma domain:DOMAIN: it opens
            nothing that is not open to them.
        --for-ci: Print the lines for this CI service on standard error.

    Examples:
        wheelyard token create ci --project 'acme-*' --expires 30d
        wheelyard token create ci-of-core --project acme-core --for-ci github
        wheelyard token create ana --can manage --owner user:ana@acme.dev

    Documentation: docs/tokens.md
    """
    lifetime = parse_duration(expires)
    days, rest = divmod(lifetime, timedelta(days=1))
    wanted = NewToken(
        name=name,
        projects=tuple(map(parse_pattern, projects)) or (EVERY_PROJECT,),
        can=tuple(can.split(",")),
        days=None if rest else days,
        expires=system_runtime().now() + lifetime if rest else None,
        owner=owner,
    )
    api = open_api(_index_for_tokens)
    # asked first, so that no token is made if there is no answer
    clients = api.call(client_projects, ClientProjectsQuery()) if ci is not None else None
    made = api.call(tokens.create_token, wanted)
    click.echo(_announcement(made), err=True)
    with show_token(made.id):
        click.echo(made.token)
    if ci is not None and clients is not None:
        scope = Scope(parse_actions(made.can, admin=True), made.projects)
        lines = ci_lines(SERVICES[ci], scope, api.url, serves_public=clients.serves_public)
        click.echo(f"\n{lines}", err=True, nl=False)


@token_command.subcommand("list", JSON, *INDEX)
def list_tokens() -> None:
    """
    List the tokens, without their secrets; inactive ones of CI jobs are left out.

    Examples:
        wheelyard token list
        wheelyard token list --json

    Documentation: docs/tokens.md
    """
    # the expired tokens of CI jobs: there may be thousands that have not been swept yet
    found = open_api().call(tokens.list_tokens).tokens
    shown = [token for token in found if not token.publishers or token.state == "active"]
    names = {f"token:{token.id}": token.name for token in found}
    described = [_described(token, names) for token in shown]
    print_result({"tokens": described}, _token_lines(shown, names))


def _token_lines(shown: Sequence[TokenAnswer], names: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    for token in shown:
        used = f"last used {token.last_used}" if token.last_used else "never used"
        columns = (token.id, token.name, _scope_text(token), _expiry(token), used)
        by = with_name(token.created_by, names.get(token.created_by, ""))
        more = ("minted",) if token.publishers else ()
        if token.replaced_by:
            more = (f"replaced by {token.replaced_by}",)
        yield (*columns, token.state, f"by {by}", *more)


@token_command.subcommand(
    "rotate",
    Argument(["token"], metavar="NAME|ID"),
    Option(["--overlap"], default="24h", show_default=True),
    *INDEX,
)
def rotate_token(token: str, overlap: str) -> None:
    """
    Replace a token by a new one with the same name, rights and lifetime.

    Standard output has only the new token. The old one expires when --overlap has passed, or
    earlier by itself.

    Options:
        --overlap: How long the old token lives on: 30m, 1h, 7d; 0 ends it at once.

    Examples:
        wheelyard token rotate ci
        wheelyard token rotate x7Kq2mPz4A --overlap 1h
        wheelyard token rotate ci | gh secret set WHEELYARD_TOKEN

    Documentation: docs/tokens.md
    """
    lasting = timedelta(0) if overlap == "0" else parse_duration(overlap)
    # of a token in full, only the id is sent
    named = token if token_id_in(token) is None and not has_token_prefix(token) else None
    wanted = TokenRotation(named or require_token_id(token), lasting / timedelta(hours=1))
    made = open_api().call(tokens.rotate_token, wanted)
    old = made.replaces
    end = "is revoked" if old.revoked else f"ends {_expiry(old)}"
    click.echo(f"{old.id} {end}; instead of it:", err=True)
    click.echo(_announcement(made), err=True)
    with show_token(made.id):
        click.echo(made.token)


@token_command.subcommand("revoke", Argument(["ids"], nargs=-1, required=True, metavar="ID..."), *INDEX)
def revoke_tokens(ids: tuple[str, ...]) -> None:
    """
    Revoke tokens, each given by its id or in full.

    By default, every server refuses a revoked token within 15 seconds.

    Examples:
        wheelyard token revoke x7Kq2mPz4A
        wheelyard token revoke x7Kq2mPz4A --server https://packages.acme.dev

    Documentation: docs/tokens.md
    """
    api = open_api()
    for token_id in map(require_token_id, ids):
        api.call(tokens.revoke_token, token_id)
        click.echo(f"{token_id}: revoked")


def _index_for_tokens() -> Index:
    """Return the index of the store, which is only made if the user names it."""
    return ensure_index(command_settings()) if is_store_given() else existing_index()


def _announcement(token: TokenAnswer) -> str:
    return escaped(f"Token {token.id}, {_scope_text(token)}, until {_expiry(token)}:")


def _scope_text(token: TokenAnswer) -> str:
    owner = f", limited to what {token.owner} may" if token.owner else ""
    return f"{','.join(token.can)} on {','.join(token.projects)}{owner}"


def _expiry(token: TokenAnswer) -> str:
    return token.expires.strftime("%Y-%m-%d %H:%M UTC")


def _described(token: TokenAnswer, names: Mapping[str, str]) -> dict[str, object]:
    by_name = names.get(token.created_by, "")
    return asdict(token) | {"owner": token.owner or "", "created_by_name": by_name}
