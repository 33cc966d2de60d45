"""`wheelyard token`: create, list, rotate and revoke API tokens."""

from collections.abc import Mapping
from datetime import timedelta

import click
from msgspec.json import encode

from wheelyard.authentication.api_tokens import ListedToken, TokenRequest
from wheelyard.authentication.explain import parse_owner
from wheelyard.cli.help_text import examples
from wheelyard.cli.managed_index import managed_index, managed_options
from wheelyard.cli.options import command_settings, ensure_index, existing_index, is_store_given
from wheelyard.cli.output import show_token
from wheelyard.cli.quantities import parse_duration
from wheelyard.model.access import EVERY_PROJECT, Action, parse_actions, parse_pattern
from wheelyard.model.principals import with_name
from wheelyard.model.text import escaped
from wheelyard.model.token import TokenRecord
from wheelyard.rendering.ci_settings import SERVICES, ci_lines
from wheelyard.wiring.index import Index


@examples("tokens.md")
@click.group("token")
def command() -> None:
    """Create, list, rotate and revoke API tokens."""


@examples(
    "tokens.md",
    "wheelyard token create ci --project 'acme-*' --expires 30d",
    "wheelyard token create ci-of-core --project acme-core --for-ci github",
    "wheelyard token create ana --can manage --owner user:ana@acme.dev",
)
@command.command("create")
@click.argument("name")
@click.option(
    "--can", default="read,upload", show_default=True, help="read, upload, manage, admin."
)
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="PATTERN",
    help="acme-core, or acme-*; may be given again.  [default: every project]",
)
@click.option("--expires", default="90d", show_default=True, help="12h, 30d, 8w.")
@click.option(
    "--owner",
    metavar="WHO",
    help="user:EMAIL or serviceAccount:EMAIL, and with a comma domain:DOMAIN: it opens nothing "
    "that is not open to them.",
)
@click.option(
    "--for-ci",
    "ci",
    type=click.Choice(sorted(SERVICES)),
    help="Print the lines for this CI service on standard error.",
)
@managed_options
def create(
    name: str,
    can: str,
    projects: tuple[str, ...],
    expires: str,
    owner: str | None,
    ci: str | None,
) -> None:
    """Create a token called NAME; standard output has only the token."""
    principal, names = parse_owner(owner) if owner is not None else ("", ())
    request = TokenRequest(
        name=name,
        actions=parse_actions(can.split(","), admin=True),
        projects=tuple(parse_pattern(each) for each in projects) or (EVERY_PROJECT,),
        lifetime=parse_duration(expires),
        owner=principal,
        owner_names=names,
    )
    index = managed_index(_index_for_tokens)
    # asked first, so that no token is made if there is no answer
    serves_public = ci is not None and index.client_projects(()).serves_public
    token, record = index.create_token(request)
    click.echo(_announcement(record), err=True)
    with show_token(record.id):
        click.echo(token)
    if ci is not None:
        lines = ci_lines(SERVICES[ci], record.scope, index.url, serves_public=serves_public)
        click.echo(f"\n{lines}", err=True, nl=False)


@examples(
    "tokens.md",
    "wheelyard token list",
    "wheelyard token list --json",
)
@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@managed_options
def list_tokens(*, as_json: bool) -> None:
    """List the tokens, without their secrets; inactive ones of CI jobs are left out."""
    # the expired tokens of CI jobs: there may be thousands that have not been swept yet
    tokens = managed_index().tokens()
    shown = [each for each in tokens if not each.record.publishers or each.state == "active"]
    names = {f"token:{each.record.id}": each.record.name for each in tokens}
    if as_json:
        click.echo(encode({"tokens": [_described(each, names) for each in shown]}))
        return
    for each in shown:
        record = each.record
        used = f"last used {each.last_used}" if each.last_used else "never used"
        columns = (record.id, record.name, _scope_text(record), _expiry(record), used)
        by = with_name(record.created_by, names.get(record.created_by, ""))
        more = ("minted",) if record.publishers else ()
        if record.rotation:
            more = (f"replaced by {record.rotation.successor}",)
        click.echo("\t".join(map(escaped, (*columns, each.state, f"by {by}", *more))))


@examples(
    "tokens.md",
    "wheelyard token rotate ci",
    "wheelyard token rotate x7Kq2mPz4A --overlap 1h",
    "wheelyard token rotate ci | gh secret set WHEELYARD_TOKEN",
)
@command.command("rotate")
@click.argument("token", metavar="NAME|ID")
@click.option(
    "--overlap",
    default="24h",
    show_default=True,
    help="How long the old token lives on: 30m, 1h, 7d; 0 ends it at once.",
)
@managed_options
def rotate_token(token: str, overlap: str) -> None:
    """
    Replace a token by a new one with the same name, rights and lifetime.

    Standard output has only the new token. The old one expires when --overlap has passed, or
    earlier by itself.
    """
    lasting = timedelta(0) if overlap == "0" else parse_duration(overlap)
    rotated = managed_index().rotate_token(token, lasting)
    new, old = rotated.new, rotated.old
    end = "is revoked" if old.revoked_at else f"ends {_expiry(old)}"
    click.echo(f"{old.id} {end}; instead of it:", err=True)
    click.echo(_announcement(new), err=True)
    with show_token(new.id):
        click.echo(rotated.token.text)


@examples(
    "tokens.md",
    "wheelyard token revoke x7Kq2mPz4A",
    "wheelyard token revoke x7Kq2mPz4A --server https://packages.acme.dev",
)
@command.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@managed_options
def revoke(ids: tuple[str, ...]) -> None:
    """
    Revoke tokens, each given by its id or in full.

    By default, every server refuses a revoked token within 15 seconds.
    """
    index = managed_index()
    for each in ids:
        click.echo(f"{index.revoke_token(each)}: revoked")


def _index_for_tokens() -> Index:
    """Return the index of the store, which is only made if the user names it."""
    return ensure_index(command_settings()) if is_store_given() else existing_index()


def _announcement(record: TokenRecord) -> str:
    return escaped(f"Token {record.id}, {_scope_text(record)}, until {_expiry(record)}:")


def _scope_text(record: TokenRecord) -> str:
    owner = f", limited to what {record.owner} may" if record.owner else ""
    return f"{','.join(_actions(record))} on {','.join(record.projects)}{owner}"


def _actions(record: TokenRecord) -> list[str]:
    return [action.word for action in Action if action & record.actions]


def _expiry(record: TokenRecord) -> str:
    return record.expires_at.strftime("%Y-%m-%d %H:%M UTC")


def _described(token: ListedToken, names: Mapping[str, str]) -> dict[str, object]:
    record = token.record
    return {
        "id": record.id,
        "name": record.name,
        "can": _actions(record),
        "projects": record.projects,
        "created": record.created_at,
        "created_by": record.created_by,
        "expires": record.expires_at,
        "last_used": token.last_used,
        "state": token.state,
        "owner": record.owner,
        "publishers": record.publishers,
        "replaced_by": record.rotation.successor if record.rotation else "",
        "created_by_name": names.get(record.created_by, ""),
    }
