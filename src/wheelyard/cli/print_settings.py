"""`wheelyard print-settings`: the configuration text of a client, to append to its file."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import click
from click import Argument, Option
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.api.local import LocalApi
from wheelyard.api.projects import ClientProjectsQuery, client_projects
from wheelyard.cli.command import cli_command, given_option
from wheelyard.cli.options import INDEX, existing_index, loaded_settings, open_api
from wheelyard.cli.output import warn
from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import parse_name
from wheelyard.rendering.client_settings import CLIENTS, INSTALLERS, ClientSettings
from wheelyard.settings.load import process_environment
from wheelyard.wiring.index import Index

TOKEN_VARIABLE: Final = "WHEELYARD_TOKEN"  # noqa: S105 - no token
_HOST: Final = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
_ROOT: Final = re.compile(rf"https?://{_HOST}(?:/[A-Za-z0-9._~!&'()*+,;=:@%-]+)*")
"""A URL without a credential, a query, and what a client's file could take for its own syntax."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]+")


@cli_command(
    "print-settings",
    Argument(["client"], type=click.Choice(list(CLIENTS))),
    Option(["--url"], metavar="URL"),
    Option(["--project", "projects"], multiple=True, metavar="NAME"),
    Option(["--one-url"], is_flag=True),
    Option(["--with-token"], is_flag=True, help=f"Write the token of ${TOKEN_VARIABLE}, too."),
    *INDEX,
)
def print_settings_command(
    *, client: str, url: str | None, projects: tuple[str, ...], one_url: bool, with_token: bool
) -> None:
    """
    Print the configuration text of CLIENT for this index, to append to its file.

    With --project, the text names this project and all private ones that it needs, also indirectly,
    as store or server say. uv, Poetry, PDM and Pipenv take these from this index only, and all
    others from where they took them before. pip takes all from this index. With --one-url, every
    client does, since public packages come from an upstream index. Without --with-token there is no
    secret in the text.

    Options:
        --url: The root that clients use.  [default: as the settings say]
        --project: A project that comes from this index; may be given again.
        --one-url: The index serves public packages, too.  [default: as the settings say]

    Examples:
        wheelyard print-settings uv --server https://pypi.acme.dev --project acme
        wheelyard print-settings pip >> ~/.config/pip/pip.conf
        wheelyard print-settings twine --with-token >> ~/.pypirc

    Documentation: docs/private-and-public.md
    """
    token = _parse_token(process_environment().get(TOKEN_VARIABLE, "")) if with_token else ""
    # each project once, in the order given
    wanted = tuple(dict.fromkeys(map(parse_name, projects)))
    found = _client_settings(
        client, None if url is None else _parse_root(url), wanted, one_url=one_url
    )
    text = CLIENTS[client](replace(found, token=token))
    if with_token:
        warn("there is a secret in this text: commit neither the file nor a lock file made from it")
    # an empty line first, as the last line of a file may have no end
    click.echo(f"\n{text}", nl=False)


def _client_settings(
    client: str, root: str | None, wanted: Sequence[NormalizedName], *, one_url: bool
) -> ClientSettings:
    """Return the settings of a client; ask the index only for what its text has to say."""
    is_remote = given_option("server") is not None
    is_asked = is_remote or (wanted and client != "pip")  # the text for pip names no project
    if client in INSTALLERS and not one_url and is_asked:
        index = open_api(_index_or_advice)
        found = index.call(client_projects, ClientProjectsQuery(",".join(wanted)))
        if root is None and isinstance(index, LocalApi):
            root = index.index.settings.base_url
        return ClientSettings(
            root=root or index.url, projects=found.projects, serves_public=found.serves_public
        )
    if is_remote and root is None:
        root = open_api().url
    if root is not None:
        return ClientSettings(root=root, serves_public=one_url)
    settings = loaded_settings().settings
    return ClientSettings(
        root=settings.base_url, serves_public=one_url or settings.upstream.enabled
    )


def _index_or_advice() -> Index:
    """Return the index of a store; the Invalid for none names the other way to ask."""
    try:
        return existing_index()
    except Invalid as fault:
        message = f"{fault.message} Or ask a server what the projects need, with --server URL."
        raise Invalid(message, code=fault.code) from fault


def _parse_root(text: str) -> str:
    """Return the root of a server for any of its URLs that people copy; or raise Invalid."""
    root = text.rstrip("/").removesuffix("/simple").removesuffix("/legacy")
    with suppress(ValueError):  # for a port above 65535, and a malformed IPv6 address
        if _ROOT.fullmatch(root) and urlsplit(root).port != 0:
            return root
    # a URL that has a password in it is not repeated
    what = "" if "@" in text else f" {quoted(text)}"
    raise Invalid(
        f"--url{what} is not the URL of a server. Write its root, such as "
        "https://pypi.acme.dev, without a credential.",
        code="bad_setting",
    )


def _parse_token(text: str) -> str:
    if not _TOKEN.fullmatch(text.strip()):
        raise Invalid(
            f"--with-token: ${TOKEN_VARIABLE} has no token. Set it to one that "
            "'wheelyard token create' has made.",
            code="bad_setting",
        )
    return text.strip()
