"""`wheelyard token`: create, list, rotate and revoke API tokens."""

from datetime import date, timedelta

import click
from msgspec.json import encode

from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.explain import parse_subject
from wheelyard.authentication.token_rotation import find_token, rotate
from wheelyard.cli.help_text import examples
from wheelyard.cli.options import (
    command_settings,
    ensure_index,
    existing_index,
    is_store_given,
    local_caller,
    store_options,
)
from wheelyard.cli.output import show_token
from wheelyard.cli.times import parse_duration
from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import EVERY_PROJECT, Action, parse_actions, parse_pattern
from wheelyard.model.principals import with_name
from wheelyard.model.text import escaped
from wheelyard.model.token import TokenRecord
from wheelyard.rendering.ci_settings import SERVICES, ci_lines
from wheelyard.settings.sections import Settings
from wheelyard.wiring.index import Index, authenticator_of_settings

OWNERS = ("user:", "serviceAccount:")


@examples(
    "tokens.md",
    "wheelyard token create ci --project 'acme-*' --expires 30d",
    "wheelyard token rotate ci --overlap 12h",
    "wheelyard token revoke x7Kq2mPz4A",
)
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
@click.option("--can", default="read,upload", show_default=True, help="read, upload, manage.")
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
@store_options
def create(
    name: str,
    can: str,
    projects: tuple[str, ...],
    expires: str,
    owner: str | None,
    ci: str | None,
) -> None:
    """Create a token called NAME; standard output has only the token."""
    settings = command_settings()
    principal, names = _owner(owner, settings) if owner is not None else ("", ())
    request = TokenRequest(
        name=name,
        actions=parse_actions(can.split(",")),
        projects=tuple(parse_pattern(each) for each in projects) or (EVERY_PROJECT,),
        lifetime=parse_duration(expires),
        owner=principal,
        owner_names=names,
    )
    index = ensure_index(settings) if is_store_given() else existing_index()
    token, record = index.tokens.create(request, by=local_caller(index).principal)
    click.echo(_announcement(record), err=True)
    with show_token(record.id):
        click.echo(token.text)
    if ci is not None:
        url = settings.base_url if settings.server.public_url else ""
        click.echo(f"\n{ci_lines(SERVICES[ci], record.scope, url)}", err=True, nl=False)


@examples(
    "tokens.md",
    "wheelyard token list",
    "wheelyard token list --json",
)
@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@store_options
def list_tokens(*, as_json: bool) -> None:
    """List the tokens, without their secrets; inactive ones of CI jobs are left out."""
    index = existing_index()
    now = index.runtime.now()
    # the expired tokens of CI jobs: there may be thousands that have not been swept yet
    tokens = index.tokens.all()
    shown = [each for each in tokens if not each.publishers or each.state(now) == "active"]
    days = index.tokens.last_uses(shown)
    names = {f"token:{each.id}": each.name for each in tokens}
    if as_json:
        described = [
            {
                **_described(index, each, days.get(each.id)),
                "created_by_name": names.get(each.created_by, ""),
            }
            for each in shown
        ]
        click.echo(encode({"tokens": described}))
        return
    for record in shown:
        used = f"last used {days[record.id]}" if record.id in days else "never used"
        columns = (record.id, escaped(record.name), _scope_text(record), _expiry(record), used)
        by = escaped(with_name(record.created_by, names.get(record.created_by, "")))
        more = ("minted",) if record.publishers else ()
        if record.rotation:
            more = (f"replaced by {record.rotation.successor}",)
        click.echo("\t".join((*columns, record.state(now), f"by {by}", *more)))


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
    help="How long the old token lives on: 1h, 7d; 0 ends it at once.",
)
@store_options
def rotate_token(token: str, overlap: str) -> None:
    """
    Replace a token by a new one with the same name, rights and lifetime.

    Standard output has only the new token. The old one expires when --overlap has passed, or
    earlier by itself.
    """
    lasting = timedelta(0) if overlap == "0" else parse_duration(overlap)
    index = existing_index()
    old = find_token(index.tokens, token)
    rotated = rotate(index.tokens, old, lasting, by=local_caller(index).principal)
    new, old = rotated.new, rotated.old
    end = "is revoked" if old.revoked_at else f"ends {_expiry(old)}"
    click.echo(f"{old.id} {end}; instead of it:", err=True)
    click.echo(_announcement(new), err=True)
    with show_token(new.id):
        click.echo(rotated.token.text)


@examples(
    "tokens.md",
    "wheelyard token revoke x7Kq2mPz4A",
    "wheelyard token revoke x7Kq2mPz4A Zb91LmQw0c --store gs://acme-packages",
)
@command.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@store_options
def revoke(ids: tuple[str, ...]) -> None:
    """
    Revoke tokens, each given by its id or in full.

    By default, every server refuses a revoked token within 15 seconds.
    """
    index = existing_index()
    for each in ids:
        record = index.tokens.revoke(each, by=local_caller(index).principal)
        click.echo(f"{record.id}: revoked")


def _owner(text: str, settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Return the principal of `--owner`, and all principals by which grants can name it."""
    names = parse_subject(text, authenticator_of_settings(settings)).caller.principals
    principals = {each.partition("#")[0] for each in names if each.startswith(OWNERS)}
    others = [each for each in text.split(",") if not each.strip().startswith((*OWNERS, "domain:"))]
    if len(principals) != 1 or others:
        raise Invalid(
            f"{quoted(text)} owns no tokens. Write user:EMAIL or serviceAccount:EMAIL, and perhaps "
            "domain:DOMAIN after a comma.",
            code="invalid_field",
        )
    return principals.pop(), tuple(sorted(names))


def _announcement(record: TokenRecord) -> str:
    return f"Token {record.id}, {_scope_text(record)}, until {_expiry(record)}:"


def _scope_text(record: TokenRecord) -> str:
    return f"{','.join(_actions(record))} on {','.join(record.projects)}"


def _actions(record: TokenRecord) -> list[str]:
    return [action.word for action in Action if action & record.actions]


def _expiry(record: TokenRecord) -> str:
    return record.expires_at.strftime("%Y-%m-%d %H:%M UTC")


def _described(index: Index, record: TokenRecord, last_used: date | None) -> dict[str, object]:
    return {
        "id": record.id,
        "name": record.name,
        "can": _actions(record),
        "projects": record.projects,
        "created": record.created_at,
        "created_by": record.created_by,
        "expires": record.expires_at,
        "last_used": last_used,
        "state": record.state(index.runtime.now()),
        "owner": record.owner,
        "publishers": record.publishers,
        "replaced_by": record.rotation.successor if record.rotation else "",
    }
