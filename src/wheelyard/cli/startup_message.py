"""What a server prints when it starts: its URL, warnings, perhaps a token, and lines to paste."""

from contextlib import suppress
from typing import Final

import click
from msgspec.structs import replace

from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.cli.output import warn
from wheelyard.cli.program import this_terminal, warn_of
from wheelyard.cli.shared_options import given_option
from wheelyard.cli.standard_streams import show_token
from wheelyard.errors import Unavailable
from wheelyard.model.access import EVERY_PROJECT, Action
from wheelyard.model.api_token import ApiToken
from wheelyard.model.decoding import escaped
from wheelyard.settings import sections
from wheelyard.settings.validation import accepts_other_credentials
from wheelyard.wiring.index import Index
from wheelyard.wiring.warnings import server_warnings

TOKEN_PLACEHOLDER: Final = "TOKEN"  # noqa: S105 - no token
"""Stands for the token in the client configuration if there is no first token."""


def print_startup_message(index: Index) -> None:
    """
    Print the URL, warnings, perhaps a first token, and client configuration to paste.

    A first token is made for a server and a store of this machine on which nobody has a right yet.
    Raises Unavailable if the token was made, and could not be shown.
    """
    settings = index.settings
    click.echo(f"wheelyard serves {escaped(settings.store.location)} at {settings.index_url}")
    warn_of(server_warnings(index))
    token = _first_token(index)
    if token is None and not accepts_other_credentials(settings):
        _explain_missing_token(index)
    token_text = token.text if token else TOKEN_PLACEHOLDER
    click.echo(_client_configuration(index, token_text))
    for name in index.alternatives:
        click.echo(f"Index {name} is at {settings.base_url}/{name}/simple/")


def _explain_missing_token(index: Index) -> None:
    """Print how a token is made, unless anybody may read and publish without one."""
    settings = index.settings
    # nothing is said if the store does not answer, as to a server that may not list objects
    with suppress(Unavailable):
        if settings.access.anonymous_uploads and index.read_policy.is_public():
            return
        missing = "There is no token yet."
        if index.tokens.any_active():
            missing = "TOKEN stands for a token. One that is lost cannot be shown again."
        click.echo(f"\n{missing} {_token_hint(settings)}")


def _first_token(index: Index) -> ApiToken | None:
    """
    Create, print and return the first token of an index, or return None.

    The token is created if the server listens on a loopback address, if the store is on this
    machine and may be written, and if there are no tokens, no grants, no password file and no
    anonymous uploads. Revoked grants count, too. A proxy on this machine, which passes on requests
    of other machines, makes no difference.

    Raises Unavailable if the token was created, and could not be shown.
    """
    settings = index.settings
    is_local = index.server.is_local and settings.server.is_loopback

    # an index with its own access rules gets no token that bypasses them
    has_rules = settings.access.htpasswd_file or settings.access.anonymous_uploads
    if settings.server.read_only or not is_local or has_rules:
        return None
    request = TokenRequest(
        name="first token, made by serve",
        actions=Action.MANAGE.with_implied,
        projects=(EVERY_PROJECT,),
    )
    try:
        if index.server.access.records.has_journal() or index.tokens.all():
            return None
        token, record = index.tokens.create(request, by="serve")
    except Unavailable as fault:  # a read-only store needs no token
        warn(f"no first token was made: {fault.message}")
        return None
    with show_token(record.id):
        click.echo(f"\nYour first token, shown this once: {token.text}")
    rights = "It may read, upload and manage in the index main for 90 days."
    if settings.store.location != sections.MEMORY_LOCATION:
        rights += f" {_token_hint(settings)}"
    click.echo(rights)
    return token


def _token_hint(settings: sections.Settings) -> str:
    """Return the sentence that explains how to create a token."""
    location = settings.store.location
    if location == sections.MEMORY_LOCATION:
        condition = "unless the settings define who has access"
        return f"A server on 127.0.0.1 makes one for its store in memory, {condition}."
    words = ["token", "create", "NAME", "--can", "read,upload"]
    if location != sections.DEFAULT_STORE and not given_option("store"):
        words += ["--store", location]
    return f"Make a token: {this_terminal().line(words)}"


def _client_configuration(index: Index, token: str) -> str:
    """Return the commands that install from an index and, if it takes uploads, publish to it."""
    settings = index.settings
    upload_url = f"{settings.base_url}/legacy/"
    scheme, _, root = settings.index_url.partition("://")
    user = "__token__"
    if settings.access.htpasswd_file and token == TOKEN_PLACEHOLDER:
        user = "NAME"
        token = "PASSWORD"  # noqa: S105 - stands for one
    install_url = f"{scheme}://{user}:{token}@{root}"
    with suppress(Unavailable):
        if index.read_policy.anonymous().may_anywhere(Action.READ):
            install_url = settings.index_url
    if settings.access.anonymous_uploads:
        # any name and password do, and twine asks for both
        user = "anybody"
        token = "anything"  # noqa: S105 - stands for one
    install = _install_lines(settings, install_url)
    if not index.takes_uploads:
        return install
    return f"""{install}\
Publish   uv publish --publish-url {upload_url} -u {user} -p {token} dist/*
          twine upload --repository-url {upload_url} -u {user} -p {token} dist/*
          poetry config repositories.wheelyard {upload_url}
          poetry publish -r wheelyard -u {user} -p {token}
"""


def _install_lines(settings: sections.Settings, install_url: str) -> str:
    """Return the commands that install from a URL, of which none asks two indexes for one name."""
    # without options of a place: other machines do not have the store and the settings file
    elsewhere = replace(this_terminal(), place=())
    words = ("print-settings", "CLIENT", "--server", settings.base_url)
    print_settings_line = elsewhere.line(words)
    comment = "# uv, pip, poetry, pdm, pipenv, twine or hatch"
    if settings.upstream.is_on:
        return f"""
Install   uv pip install --default-index {install_url} NAME
          pip install --index-url {install_url} NAME
          poetry source add --priority=primary wheelyard {settings.index_url}
          {print_settings_line}   {comment}
"""
    return f"""
Install   uv pip install --index {install_url} NAME
          pip install --index-url {install_url} NAME   # fails where something is missing here
          {print_settings_line} --project NAME   {comment}
"""
