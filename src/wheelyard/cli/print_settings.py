"""`wheelyard print-settings`: the configuration text of a client, to append to its file."""

import re
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import click

from wheelyard.cli.help_text import examples
from wheelyard.cli.output import warn
from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import parse_name
from wheelyard.rendering.client_settings import CLIENTS, ClientSettings
from wheelyard.settings.load import load_settings, process_environment

TOKEN_VARIABLE: Final = "WHEELYARD_TOKEN"  # noqa: S105 - no token
_HOST: Final = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
_ROOT: Final = re.compile(rf"https?://{_HOST}(?:/[A-Za-z0-9._~!&'()*+,;=:@%-]+)*")
"""A URL without a credential, a query, and what a client's file could take for its own syntax."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]+")


@examples(
    "private-and-public.md",
    "wheelyard print-settings uv --url https://pypi.acme.dev --project acme-core",
    "wheelyard print-settings pip >> ~/.config/pip/pip.conf",
    "wheelyard print-settings twine --with-token >> ~/.pypirc",
)
@click.command("print-settings")
@click.argument("client", type=click.Choice(list(CLIENTS)))
@click.option("--url", metavar="URL", help="The server's root.  [default: as the settings say]")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="NAME",
    help="A project that comes from this index; may be given again.",
)
@click.option(
    "--one-url",
    is_flag=True,
    help="The index serves public packages, too.  [default: as the settings say]",
)
@click.option("--with-token", is_flag=True, help=f"Write the token of ${TOKEN_VARIABLE}, too.")
def command(
    *, client: str, url: str | None, projects: tuple[str, ...], one_url: bool, with_token: bool
) -> None:
    """
    Print the configuration text of CLIENT for this index, to append to its file.

    uv, Poetry, PDM and Pipenv then take each named project from this index only, and all others
    from where they took them before. pip takes all from this index. With --one-url, every client
    does, since public packages come from an upstream index. Without --with-token there is no
    secret in the text.
    """
    environ = process_environment()
    if url is None:
        settings = load_settings(environ=environ).settings
        root, one_url = settings.base_url, one_url or settings.upstream.enabled
    else:
        root = _parse_root(url)
    # each project once, in the order given
    names = tuple(dict.fromkeys(map(parse_name, projects)))
    token = _parse_token(environ.get(TOKEN_VARIABLE, "")) if with_token else ""
    found = ClientSettings(root=root, projects=names, token=token, serves_public=one_url)
    text = CLIENTS[client](found)
    if with_token:
        warn("there is a secret in this text: commit neither the file nor a lock file made from it")
    # an empty line first, as the last line of a file may have no end
    click.echo(f"\n{text}", nl=False)


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
