"""`wheelyard login` and `logout`: a token of one's own, where clients of this machine find it."""

import logging
import os
import platform
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click
from click import Argument, Option
from msgspec import Struct

from wheelyard.api.device_login import (
    DeviceAuthorization,
    DeviceToken,
    WantedLogin,
    await_token,
    begin_login,
    require_safe,
    revoke,
)
from wheelyard.api_client import (
    KEYRING_SECONDS,
    ApiConnection,
    index_url,
    keyring_path,
    parse_server,
)
from wheelyard.cli.files import replace_file
from wheelyard.cli.output import cli_command, is_output_lost, print_message, warn
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import (
    OWNER_ENDED,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    Invalid,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http_client.credential_stores import (
    KeyringFailed,
    NetrcProblem,
    TokenKeyring,
    netrc_bytes,
    netrc_path,
    netrc_text,
    token_in_netrc,
    with_token,
    without_token,
)
from wheelyard.http_client.urls import Url
from wheelyard.model.access import Action, Scope, describe_scope, parse_actions, parse_pattern
from wheelyard.model.api_token import parse_token
from wheelyard.model.decoding import escaped, to_one_line
from wheelyard.rendering.login_lines import StoredToken, login_lines
from wheelyard.settings.load import process_environment
from wheelyard.wiring.stores import system_runtime

IS_WINDOWS: Final = sys.platform == "win32"
PRIVATE: Final = 0o600
HOST_CHARS: Final = 60
ENDED: Final = (OWNER_ENDED, TOKEN_EXPIRED, TOKEN_REVOKED)
"""The codes by which a server says that a token was its own."""
URL: Final = Argument(["url"], metavar="URL")
INDEX: Final = Option(
    ["--index"], default="", metavar="NAME", help="The index that the token is for, such as prod."
)


class TokenStore(Struct, frozen=True):
    """Where the token of one index is on this machine: in the keyring, or in netrc."""

    server: Url
    netrc: Path
    keyring: TokenKeyring | None
    """None without the command `keyring`."""

    @classmethod
    def of(cls, server: Url, environ: Mapping[str, str]) -> "TokenStore":
        """Return where the token of a server is."""
        program = keyring_path(environ)
        root = server.redacted.rstrip("/")
        keyring = TokenKeyring(program, root, environ, KEYRING_SECONDS) if program else None
        path = netrc_path(environ, Path.home(), is_windows=IS_WINDOWS)
        return cls(server, path, keyring)

    @property
    def host(self) -> str:
        """The host as a netrc file writes it."""
        return self.server.host.strip("[]")

    def in_netrc(self) -> str:
        """
        Return the token in netrc, or an empty text.

        Raises Invalid if an entry there cannot be replaced, and comes before all else for clients.
        """
        try:
            return token_in_netrc(self.netrc, self.host)
        except NetrcProblem as problem:
            raise Invalid(escaped(str(problem)), code="bad_setting") from None

    def replaced_tokens(self) -> dict[str, str]:
        """
        Return `tokens`, which a new one replaces, and warn if netrc has one for the same host.

        Raises Invalid as `in_netrc`, or if netrc is needed and cannot be written.
        """
        is_there = bool(self.in_netrc())
        if not os.access(self.netrc.resolve().parent, os.W_OK) and (is_there or not self.keyring):
            raise Invalid(
                f"The token cannot be stored in {escaped(self.netrc_name)}: the folder is missing, "
                "or you may not write there. Make the folder, or set NETRC to another file.",
                code="bad_setting",
            )
        if is_there:
            warn(
                f"{escaped(self.netrc_name)} has a token for {self.host} already, which the new "
                "one replaces, also if it is of another index on that host"
            )
        return self.tokens()

    def store(self, token: str) -> str:
        """
        Store a token, and return the path of the netrc file, or nothing for the keyring.

        A token in netrc is replaced there, as clients look there first. Raises Invalid as
        `in_netrc`, and OSError if netrc cannot be written.
        """
        if not self.in_netrc() and self.keyring is not None:
            try:
                self.keyring.store(token)
            except KeyringFailed as why:
                print_message(logging.INFO, f"{self.netrc_name} is used, as the keyring {why}")
            else:
                return ""
        text = with_token(netrc_text(self.netrc), self.host, token)
        replace_file(self.netrc, netrc_bytes(text), PRIVATE, keeps_mode=False)
        return self.netrc_name

    @property
    def netrc_name(self) -> str:
        """The path of netrc as people write it."""
        with suppress(ValueError):
            return f"~/{self.netrc.relative_to(Path.home()).as_posix()}"
        return str(self.netrc)

    def tokens(self) -> dict[str, str]:
        """Return the stored tokens by where they are in words, which is netrc for the last one."""
        tokens = dict[str, str]()
        if self.keyring is not None:
            with suppress(KeyringFailed):
                tokens["the keyring"] = self.keyring.token()
        with suppress(Invalid):  # an entry of another form is not ours
            tokens[self.netrc_name] = self.in_netrc()
        return {place: token for place, token in tokens.items() if token}

    def remove(self, place: str) -> None:
        """Remove one of `tokens`. Raises OSError if netrc cannot be written."""
        if place == self.netrc_name:
            rest = without_token(netrc_text(self.netrc), self.host)
            replace_file(self.netrc, netrc_bytes(rest), PRIVATE, keeps_mode=False)
        elif self.keyring is not None:
            self.keyring.remove()


@cli_command(
    "login",
    URL,
    Option(["--project", "projects"], multiple=True, metavar="PATTERN"),
    Option(["--can"], default="read,upload", show_default=True),
    Option(["--days"], type=click.IntRange(1)),
    Option(["--name"]),
    INDEX,
    Option(["--print", "prints"], is_flag=True),
    Option(["--no-browser"], is_flag=True),
)
def login_command(  # noqa: PLR0913 - one for each option
    url: str,
    projects: tuple[str, ...],
    can: str,
    days: int | None,
    name: str | None,
    index: str,
    *,
    prints: bool,
    no_browser: bool,
) -> None:
    """
    Get a token of your own for the index at URL, and store it for pip, uv and others.

    A page of the index shows what this command asks for. You sign in there, type the code that is
    shown here, and approve; you can allow less. The token does at most what you may do yourself. It
    is stored in the keyring, if the command 'keyring' is installed and works, or else in netrc, and
    never printed unless you ask for it.

    Options:
        --project: acme-core, or acme-*; may be given again.  [default: every project]
        --can: read, upload, manage.
        --days: How long the token is to live.  [default: 90, or what the index allows]
        --name: What your list of tokens calls it.  [default: wheelyard login on this machine]
        --print: Print the token on standard output, and store it nowhere.
        --no-browser: Open no browser; only print the URL of the page.

    Examples:
        wheelyard login https://packages.acme.dev
        wheelyard login https://packages.acme.dev --can read --project 'acme-*'
        wheelyard login https://packages.acme.dev --index prod --print

    Documentation: login.md
    """
    environ, runtime, server = process_environment(), system_runtime(), parse_server(url)
    require_safe(server)
    store = TokenStore.of(index_url(server, index), environ)
    # before anybody approves for nothing
    replaced = {} if prints else store.replaced_tokens()
    host = _machine()
    wanted = WantedLogin(
        name=f"wheelyard login on {host}" if name is None else name,
        host=host,
        can=[word.strip() for word in can.split(",")],
        projects=projects or ("*",),
        days=days,
        index=index,
    )
    connection = _connection(server, runtime)
    begun = begin_login(connection, wanted)
    _show(begun, opens_browser=not no_browser and _has_browser(environ))
    token = await_token(connection, begun)
    with _revoked_on_failure(connection, token):
        _require_index(token, index)
        netrc = _print(token) if prints else store.store(token.access_token)
    _say(escaped(f"Token {token.id} of {token.owner}: {_rights(token)}"))
    if not prints:
        _say_stored(store, token, netrc, replaced)


@cli_command("logout", URL, INDEX)
def logout_command(url: str, index: str) -> None:
    """
    Revoke the token that 'wheelyard login URL' has stored on this machine, and remove it.

    A token in netrc that this index does not accept is kept, as it may be of another index on the
    same host.

    Examples:
        wheelyard logout https://packages.acme.dev
        wheelyard logout https://packages.acme.dev --index prod

    Documentation: login.md
    """
    server = parse_server(url)
    require_safe(server)
    store = TokenStore.of(index_url(server, index), process_environment())
    tokens = store.tokens()
    if not tokens:
        raise Invalid(
            f"No token for {server.redacted} is stored on this machine: neither in "
            f"{escaped(store.netrc_name)} nor in the keyring.",
            code="bad_setting",
        )
    connection = _connection(server, system_runtime())
    for place, token in tokens.items():
        try:
            revoke(connection, token)
        except Unauthenticated as fault:
            if place == store.netrc_name and fault.code not in ENDED:
                raise Invalid(
                    f"{server.redacted} does not accept the token in {escaped(place)}, which may "
                    f"be of another index on {store.host}, so it is kept and not revoked. Log out "
                    f"there, or delete the line 'machine {store.host} login __token__' yourself.",
                    code="bad_setting",
                ) from fault
            warn(f"the token in {escaped(place)} did not work any more")
        else:
            _say(f"The token in {escaped(place)} is revoked.")
        store.remove(place)
    _say("It is removed from this machine.")


def _machine() -> str:
    return to_one_line(platform.node(), HOST_CHARS) or "an unnamed machine"


def _connection(server: Url, runtime: Runtime) -> ApiConnection:
    """Return a connection without a credential, which is closed at the end of the command."""
    connection = ApiConnection(server, None, runtime)
    click.get_current_context().call_on_close(connection.close)
    return connection


def _print(token: DeviceToken) -> str:
    """Print a token, and return nothing, which is where it is stored then."""
    click.echo(token.access_token)
    if is_output_lost():
        raise Unavailable("The token cannot be printed, so it is revoked. Try again.")
    return ""


def _require_index(token: DeviceToken, index: str) -> None:
    """Raise Invalid (code `no_index`) if an older server has made a token for no index."""
    if token.index != index:
        raise Invalid(
            f"The server has made a token that is not for the index {index}, so it is revoked. It "
            "may be older than this command: ask its operator for a newer wheelyard.",
            code="no_index",
        )


def _say(text: str) -> None:
    """Print for the person, so that standard output is the token or nothing."""
    click.echo(text, err=True)


def _show(login: DeviceAuthorization, *, opens_browser: bool) -> None:
    """Say where a person approves a login, and with which code."""
    address, code = escaped(login.verification_uri), escaped(login.user_code)
    _say(f"Open this page in a browser, and type the code {code} there:\n\n  {address}\n")
    if opens_browser:
        webbrowser.open(address)
    print_message(logging.INFO, "waiting until you approve, for ten minutes at most")


def _say_stored(
    store: TokenStore, token: DeviceToken, netrc: str, replaced: Mapping[str, str]
) -> None:
    _say(escaped(f"It is stored in {netrc or 'the keyring'}."))
    for old in filter(None, map(parse_token, sorted(set(replaced.values())))):
        _say(f"It replaces {old.id}, which works on: revoke that if nothing uses it.")
    stored = StoredToken(
        root=store.server.redacted.rstrip("/"),
        host=store.host,
        netrc=netrc,
        may_upload=Action.UPLOAD.word in token.scope.split(),
        is_windows=IS_WINDOWS,
    )
    for line in login_lines(stored):
        _say(escaped(line))


def _rights(token: DeviceToken) -> str:
    projects = tuple(map(parse_pattern, token.projects))
    scope = Scope(parse_actions(token.scope.split()), projects, token.index)
    return f"{describe_scope(scope)}, until {token.expires:%Y-%m-%d}"


def _has_browser(environ: Mapping[str, str]) -> bool:
    """Return whether a browser with windows can be opened here, and somebody sits before it."""
    if "SSH_CONNECTION" in environ or not sys.stderr.isatty():
        return False
    # elsewhere a browser in text mode would take over the terminal
    return sys.platform in ("darwin", "win32") or any(
        environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


@contextmanager
def _revoked_on_failure(connection: ApiConnection, token: DeviceToken) -> Iterator[None]:
    """Revoke a token if this block fails or is interrupted, as nobody has it then."""
    try:
        yield
    except BaseException:
        try:
            revoke(connection, token.access_token)
        except WheelyardError:
            warn(f"token {token.id} was made and is stored nowhere: revoke it on your page")
        raise
