"""`wheelyard serve`: say where the index is and how to use it, then run it."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from shlex import quote

import click
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.cli.common import open_or_make_index, settings_from, store_options
from wheelyard.cli.output import showing
from wheelyard.errors import Unavailable
from wheelyard.http.server import check_port, check_workers, run_server
from wheelyard.index import MEMORY, Index
from wheelyard.model.access import EVERY_PROJECT, Action
from wheelyard.model.text import escaped
from wheelyard.model.token import Token, TokenRecord
from wheelyard.operations.tokens import TokenRequest
from wheelyard.settings import DEFAULT_STORE, Settings
from wheelyard.storage.mounts import remote_file_system

TRIAL = NormalizedName("trial")
FIRST_TOKEN_NAME = "first token, made by serve"  # noqa: S105 - a name, not a token


@click.command("serve")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: $PORT, else 8080]")
@click.option("--workers", type=int, help="Processes.  [default: 1]")
@click.option("--private", is_flag=True, default=None, help="Reading needs a token, too.")
@store_options
def command(
    host: str | None,
    port: int | None,
    workers: int | None,
    private: bool | None,  # noqa: FBT001 - click passes it by name
    store: str | None,
    config: Path | None,
) -> None:
    """Run the index."""
    overrides: dict[str, dict[str, object]] = {
        "server": {"host": host, "port": port, "workers": workers},
        "access": {"private": private},
    }
    settings = settings_from(store, config, overrides)
    check_workers(settings)
    server = replace(settings.server, port=check_port(settings.server))
    settings = replace(settings, server=server)
    index = open_or_make_index(settings)
    _introduce(index)
    run_server(settings, index)


def _introduce(index: Index) -> None:
    """Print where the index is, its first token if it has none, and lines to paste."""
    settings = index.settings
    click.echo(f"wheelyard serves {escaped(settings.store.location)} at {settings.index_url}")
    _warn(settings)
    _try_to_sign(index)
    made = _first_token(index)
    if made is not None:
        _show(*made, settings)
    else:
        with suppress(Unavailable):  # whoever may read, and not list, can serve all the same
            if not index.tokens.any_active():
                click.echo(f"\nThere is no token yet. {_making(settings)}")
    click.echo(_usage(settings, made[0].text if made else "TOKEN"))


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
    is_mine = index.is_near and index.settings.server.is_loopback
    if not is_mine or index.tokens.all():
        return None
    request = TokenRequest(
        name=FIRST_TOKEN_NAME,
        actions=Action.MANAGE.with_implied,
        projects=(EVERY_PROJECT,),
    )
    try:
        return index.tokens.create(request, by="serve")
    except Unavailable as fault:  # a store that is only read needs no token
        click.echo(f"wheelyard: warning: no first token was made: {fault.message}", err=True)
        return None


def _warn(settings: Settings) -> None:
    if not settings.server.is_loopback and not settings.access.private:
        click.echo(
            "wheelyard: warning: anyone who can reach this address may read every package; "
            "close reading with --private",
            err=True,
        )
    if settings.store.downloads == "public" and settings.access.private:
        click.echo(
            "wheelyard: warning: reading needs a token, but whoever knows the URL of a file gets "
            "it from the public bucket",
            err=True,
        )
    kind = remote_file_system(Path(settings.store.location))
    if kind is not None:
        click.echo(
            f"wheelyard: warning: {escaped(settings.store.location)} lies on {kind}, where "
            "locks and links may not hold; keep the store on a local disk",
            err=True,
        )


def _try_to_sign(index: Index) -> None:
    """Say now, and not at the first download, that no URL can be signed."""
    if index.is_near:
        return
    try:
        index.files.sign(keys.distribution(TRIAL, "0" * 64, TRIAL), timedelta(minutes=2))
    except Unavailable as fault:
        click.echo(
            f"wheelyard: warning: {fault.message} Until then every download goes through here.",
            err=True,
        )


def _usage(settings: Settings, token: str) -> str:
    index, upload = settings.index_url, f"{settings.base_url}/legacy/"
    scheme, _, rest = index.partition("://")
    read = f"{scheme}://__token__:{token}@{rest}" if settings.access.private else index
    return f"""
Install   pip install --index-url {read} NAME
          uv pip install --index-url {read} NAME
          poetry source add --priority=primary wheelyard {index}
Publish   twine upload --repository-url {upload} -u __token__ -p {token} dist/*
          uv publish --publish-url {upload} --token {token} dist/*
          poetry config repositories.wheelyard {upload}
          poetry publish -r wheelyard -u __token__ -p {token}
"""
