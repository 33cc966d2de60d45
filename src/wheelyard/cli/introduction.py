"""What a server says when it starts: where it is, what to look out for, and lines to paste."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import Final

import click
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.cli.output import showing
from wheelyard.cli.warnings import warn, warn_of
from wheelyard.errors import Unavailable
from wheelyard.index import Index
from wheelyard.model.access import ANONYMOUS, EVERY_PROJECT, Action, Caller
from wheelyard.model.text import escaped
from wheelyard.model.token import Token, TokenRecord
from wheelyard.operations.tokens import TokenRequest
from wheelyard.settings.advice import other_credentials
from wheelyard.settings.sections import DEFAULT_STORE, MEMORY, Settings
from wheelyard.storage.disk import remote_file_system

TRIAL: Final = NormalizedName("trial")
PLACEHOLDER: Final = "TOKEN"
"""What a line to paste has where a token belongs."""
FIRST_TOKEN_NAME: Final = "first token, made by serve"  # noqa: S105 - a name, not a token


def introduce(index: Index) -> None:
    """Print where the index is, its first token if it has none, and lines to paste."""
    settings = index.settings
    click.echo(f"wheelyard serves {escaped(settings.store.location)} at {settings.index_url}")
    _warn(index)
    _try_to_sign(index)
    made = _first_token(index)
    if made is not None:
        _show(*made, settings)
    elif not other_credentials(settings):
        with suppress(Unavailable):  # whoever may read, and not list, can serve all the same
            if not index.tokens.any_active():
                click.echo(f"\nThere is no token yet. {_making(settings)}")
    click.echo(_usage(index, made[0].text if made else PLACEHOLDER))


def _show(token: Token, record: TokenRecord, settings: Settings) -> None:
    with showing(record):
        click.echo(f"\nYour first token, shown this once: {token.text}")
    more = "" if settings.store.location == MEMORY else f" {_making(settings)}"
    click.echo(f"It may read, upload and manage for 90 days.{more}")


def _making(settings: Settings) -> str:
    """Return how a token is made; no other process can make one in a store in memory."""
    location = settings.store.location
    if location == MEMORY:
        return "A server on 127.0.0.1 makes one for its store in memory."
    place = "" if location == DEFAULT_STORE else f" --store {quote(escaped(location))}"
    return f"Make one: wheelyard token create NAME --can read,upload{place}"


def _first_token(index: Index) -> tuple[Token, TokenRecord] | None:
    settings = index.settings
    is_mine = index.is_near and settings.server.is_loopback
    # whoever has said who may do what has said that this one may not
    is_said = settings.grant or settings.access.htpasswd_file or settings.access.anonymous_uploads
    if settings.server.read_only or not is_mine or is_said or index.tokens.all():
        return None
    request = TokenRequest(
        name=FIRST_TOKEN_NAME,
        actions=Action.MANAGE.with_implied,
        projects=(EVERY_PROJECT,),
    )
    try:
        return index.tokens.create(request, by="serve")
    except Unavailable as fault:  # a store that is only read needs no token
        warn(f"no first token was made: {fault.message}")
        return None


def _warn(index: Index) -> None:
    warn_of(index.settings, index.doors)
    kind = remote_file_system(Path(index.settings.store.location))
    if kind is not None:
        warn(
            f"{escaped(index.settings.store.location)} lies on {kind}, where locks and links may "
            "not hold; keep the store on a local disk"
        )


def _try_to_sign(index: Index) -> None:
    """Say now, and not at the first download, that no URL can be signed."""
    if index.is_near:
        return
    try:
        index.files.sign(keys.distribution(TRIAL, "0" * 64, TRIAL), timedelta(minutes=2))
    except Unavailable as fault:
        warn(f"{fault.message} Until then every download goes through here.")


def _usage(index: Index, token: str) -> str:
    settings = index.settings
    url, upload = settings.index_url, f"{settings.base_url}/legacy/"
    scheme, _, rest = url.partition("://")
    user = "__token__"
    if settings.access.htpasswd_file and token == PLACEHOLDER:
        user, token = "NAME", "PASSWORD"
    is_open = Caller(ANONYMOUS, index.public_scopes).may_anywhere(Action.READ)
    read = url if is_open else f"{scheme}://{user}:{token}@{rest}"
    install = f"""
Install   pip install --index-url {read} NAME
          uv pip install --index-url {read} NAME
          poetry source add --priority=primary wheelyard {url}
"""
    if settings.server.read_only:
        return install
    return f"""{install}\
Publish   twine upload --repository-url {upload} -u {user} -p {token} dist/*
          uv publish --publish-url {upload} -u {user} -p {token} dist/*
          poetry config repositories.wheelyard {upload}
          poetry publish -r wheelyard -u {user} -p {token}
"""
