"""`wheelyard login` and `logout`: a token of one's own, where clients of this machine find it."""

import logging
import os
import platform
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
from click import Argument, Option
from msgspec import Struct

from wheelyard.api.access_operations import CallerRights
from wheelyard.api.own_token import WantedToken, check_token, form_address, require_safe, revoke
from wheelyard.api_client import KEYRING_SECONDS, index_url, keyring_path, parse_server
from wheelyard.cli import standard_streams
from wheelyard.cli.command import cli_command
from wheelyard.cli.output import print_message, warn
from wheelyard.cli.program import INDEX_VARIABLE, URL_VARIABLE
from wheelyard.cli.replaced_files import replace_file
from wheelyard.cli.shared_options import PROJECT_PATTERNS
from wheelyard.errors import (
    OWNER_ENDED,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    Invalid,
    Unauthenticated,
    Unavailable,
)
from wheelyard.http_client import credential_stores
from wheelyard.http_client.urls import Url
from wheelyard.model import access
from wheelyard.model.api_token import ApiToken, parse_token
from wheelyard.model.decoding import escaped, to_one_line
from wheelyard.rendering.login_lines import StoredToken, login_lines
from wheelyard.settings.load import process_environment
from wheelyard.wiring.stores import system_runtime

IS_WINDOWS: Final = sys.platform == "win32"
PRIVATE: Final = 0o600
HOST_CHARS: Final = 60
MAX_RIGHTS: Final = 20
"""So many rights of a token are shown at most, of a server that may send any number."""
ENDED: Final = (OWNER_ENDED, TOKEN_EXPIRED, TOKEN_REVOKED)
"""The codes by which a server says that a token was its own."""
URL: Final = Argument(["url"], metavar="[URL]", default=lambda: _default(URL_VARIABLE))
"""The root of a server. Without it `$WHEELYARD_URL`."""
INDEX: Final = Option(
    ["--index"],
    default=lambda: _default(INDEX_VARIABLE),
    metavar="NAME",
    help="The index that the token is for, such as prod.  [default: $WHEELYARD_INDEX, else main]",
)


class TokenStore(Struct, frozen=True):
    """Where the token of one index is on this machine: in the keyring, or in netrc."""

    server: Url
    netrc: Path
    keyring: credential_stores.TokenKeyring | None
    """None without the command `keyring`."""

    @classmethod
    def of(cls, server: Url, environ: Mapping[str, str]) -> "TokenStore":
        """Return the place of the token of a server on this machine."""
        program = keyring_path(environ)
        root = server.redacted.rstrip("/")
        keyring = None
        if program:
            keyring = credential_stores.TokenKeyring(program, root, environ, KEYRING_SECONDS)
        path = credential_stores.netrc_path(environ, Path.home(), is_windows=IS_WINDOWS)
        return cls(server, path, keyring)

    @property
    def host(self) -> str:
        """The host as a netrc file writes it."""
        return self.server.host.strip("[]")

    def in_netrc(self) -> str:
        """
        Return the token in netrc, or an empty text.

        Raises Invalid (code `bad_setting`) if netrc is damaged, or an entry there cannot be
        replaced, and comes before all else for clients. Raises OSError if it cannot be read.
        """
        try:
            return credential_stores.token_in_netrc(self.netrc, self.host)
        except credential_stores.NetrcProblem as problem:
            raise Invalid(escaped(str(problem)), code="bad_setting") from None

    def replaced_tokens(self) -> dict[str, str]:
        """
        Return the stored tokens, which a new one replaces, and warn if netrc has one of the host.

        They are by place, as in `tokens`. Raises Invalid (code `bad_setting`) if netrc is damaged,
        if it is needed and cannot be written, or if it has an entry that cannot be replaced, and
        comes before all else for clients. Raises OSError if it cannot be read.
        """
        is_there = bool(self.in_netrc())
        needs_netrc = is_there or self.keyring is None
        # the folder has to be writable, as a file is replaced by a new one beside it
        if needs_netrc and not os.access(self.netrc.resolve().parent, os.W_OK):
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
        Store a token, and return the path of the netrc file, or an empty text for the keyring.

        A token in netrc is replaced there, as clients look there first. If the keyring fails, that
        is printed, and netrc is used. Raises Invalid (code `bad_setting`) if netrc is damaged, or
        an entry there cannot be replaced, and OSError if netrc cannot be read or written.
        """
        if not self.in_netrc() and self.keyring is not None:
            try:
                self.keyring.store(token)
            except credential_stores.KeyringFailed as why:
                # such as on a machine without a session of a desktop, where nobody unlocks it
                print_message(logging.INFO, f"{self.netrc_name} is used, as the keyring {why}")
            else:
                return ""
        text = credential_stores.with_token(
            credential_stores.netrc_text(self.netrc), self.host, token
        )
        replace_file(self.netrc, credential_stores.netrc_bytes(text), PRIVATE, keeps_mode=False)
        return self.netrc_name

    @property
    def netrc_name(self) -> str:
        """The path of netrc as people write it."""
        with suppress(ValueError):
            return f"~/{self.netrc.relative_to(Path.home()).as_posix()}"
        return str(self.netrc)

    def tokens(self) -> dict[str, str]:
        """
        Return the stored tokens by where they are in words, which is netrc for the last one.

        A keyring that fails, and an entry of netrc in another form, have none. Raises OSError if
        netrc cannot be read.
        """
        tokens = dict[str, str]()
        if self.keyring is not None:
            with suppress(credential_stores.KeyringFailed):
                tokens["the keyring"] = self.keyring.token()
        with suppress(Invalid):  # an entry of another form is not ours
            tokens[self.netrc_name] = self.in_netrc()
        return {place: token for place, token in tokens.items() if token}

    def remove(self, place: str) -> None:
        """
        Remove the token at one of the places of `tokens`, of the keyring as far as that works.

        Raises OSError if netrc cannot be read or written.
        """
        if place == self.netrc_name:
            rest = credential_stores.without_token(
                credential_stores.netrc_text(self.netrc), self.host
            )
            replace_file(self.netrc, credential_stores.netrc_bytes(rest), PRIVATE, keeps_mode=False)
        elif self.keyring is not None:
            self.keyring.remove()


@cli_command(
    "login",
    URL,
    PROJECT_PATTERNS,
    Option(["--can"], default="read,upload", show_default=True, help="read, upload, manage."),
    Option(
        ["--days"],
        type=click.IntRange(1),
        help="How long the token is to live.  [default: 90, or what the index allows]",
    ),
    Option(
        ["--name"], help="What your list of tokens calls it.  [default: the name of this machine]"
    ),
    INDEX,
    Option(
        ["--print", "prints"],
        is_flag=True,
        help="Print the token on standard output, and store it nowhere.",
    ),
    Option(
        ["--no-browser"], is_flag=True, help="Open no browser; only print the address of the page."
    ),
    examples=(
        "wheelyard login https://packages.acme.dev",
        "wheelyard login https://packages.acme.dev --can read --project 'acme-*'",
        "wheelyard login https://packages.acme.dev --index prod --print",
    ),
    page="login.md",
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
    Store a token of your own for the index at URL, where pip, uv and others find it.

    Without URL it is the server of $WHEELYARD_URL.

    The page of your tokens is opened, or its address shown, with the form of a new one filled in.
    You sign in there, look at the form, make the token, and paste it here. Where there is no
    terminal, the token is the first line of standard input. It does at most what you may do
    yourself. It is stored in the keyring, if the command 'keyring' is installed and works, or else
    in netrc, and never printed unless you ask for it.
    """
    environ = process_environment()
    root = parse_server(url)
    require_safe(root)
    server = index_url(root, index)
    store = TokenStore.of(server, environ)
    if name is None:
        name = _machine()
    new_token = WantedToken(
        name=name,
        actions=access.parse_actions(can.split(",")),
        projects=tuple(sorted(set(map(access.parse_pattern, projects)))) or (access.EVERY_PROJECT,),
        days=days,
        index=index,
    )
    replaced = dict[str, str]()
    if not prints:
        # raises before anybody makes a token for nothing
        replaced = store.replaced_tokens()
    opens_browser = not no_browser and _has_browser(environ)
    token = _ask_on(form_address(root, new_token), opens=opens_browser)
    rights = check_token(server, token, system_runtime())

    # raises for rights that are none, before anything is stored of what is no index
    described = _describe(rights)
    netrc = ""
    if prints:
        _print(token)
    else:
        netrc = store.store(token.text)
    _say(escaped(f"Token {token.id}: {described}"))
    if not prints:
        may_upload = any(access.Action.UPLOAD.word in right.can for right in rights)
        _say_stored(store, netrc, token, replaced, may_upload=may_upload)


@cli_command(
    "logout",
    URL,
    INDEX,
    examples=(
        "wheelyard logout https://packages.acme.dev",
        "wheelyard logout https://packages.acme.dev --index prod",
    ),
    page="login.md",
)
def logout_command(url: str, index: str) -> None:
    """
    Revoke the token that 'wheelyard login URL' has stored on this machine, and remove it.

    A token in netrc that this index does not accept is kept, as it may be of another index on the
    same host.
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

    # each is revoked before it is removed here: a token that nobody has any more would live on
    for place, token in tokens.items():
        try:
            revoke(server, token, system_runtime())
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


def _default(variable: str) -> str:
    return process_environment().get(variable, "")


def _machine() -> str:
    return to_one_line(platform.node(), HOST_CHARS) or "an unnamed machine"


def _ask_on(address: str, *, opens: bool) -> ApiToken:
    """
    Show the page of a new token, and return the token that a person has made there.

    Raises Invalid and UsageError for what standard input has in place of one.
    """
    _say(f"Make a token on this page, and copy it:\n\n  {address}\n")
    if opens:
        webbrowser.open(address)
    return _ask()


def _ask() -> ApiToken:
    """
    Return the token of a person, who is asked until it is one, or of standard input.

    Raises Invalid if that of standard input is none, and click's UsageError if there is nothing.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        while True:
            token = parse_token(click.prompt("Token", hide_input=True, err=True).strip())
            if token is not None:
                return token
            _say("That is not a whole token of a wheelyard index. Copy it again.")
    line = b""
    if sys.stdin is not None:
        line = sys.stdin.buffer.readline(standard_streams.MAX_INPUT_BYTES)
    if not line.strip():
        raise click.UsageError(
            "There is no token on standard input. Write one there, or use a terminal."
        )
    token = parse_token(line.decode("latin-1").strip())
    if token is None:
        raise Invalid(
            "The first line of standard input is not a whole token of a wheelyard index.",
            code="invalid_field",
        )
    return token


def _print(token: ApiToken) -> None:
    """Print a token. Raises Unavailable if standard output cannot take it."""
    click.echo(token.text)
    if standard_streams.is_output_lost():
        raise Unavailable("The token cannot be printed. Try again.")


def _say(text: str) -> None:
    """Print for the person, so that standard output is the token or nothing."""
    click.echo(text, err=True)


def _say_stored(
    store: TokenStore,
    netrc: str,
    token: ApiToken,
    replaced: Mapping[str, str],
    *,
    may_upload: bool,
) -> None:
    _say(escaped(f"It is stored in {netrc or 'the keyring'}."))
    # keyring and netrc may have had the same token
    for text in sorted(set(replaced.values()) - {token.text}):
        old = parse_token(text)
        # an entry of netrc may have what is no token of an index
        if old is not None:
            _say(f"It replaces {old.id}, which works on: revoke that if nothing uses it.")
    stored = StoredToken(
        root=store.server.redacted.rstrip("/"),
        host=store.host,
        netrc=netrc,
        may_upload=may_upload,
        is_windows=IS_WINDOWS,
    )
    for line in login_lines(stored):
        _say(escaped(line))


def _describe(rights: Sequence[CallerRights]) -> str:
    """
    Return what a token may do, in words.

    Raises Invalid if the server has sent what is no right.
    """
    scopes = [right.scope for right in rights[:MAX_RIGHTS]]
    # several grants may give the same: what a wider scope has is not said twice
    widest = []
    for scope in scopes:
        other_scopes = [other for other in scopes if other is not scope]
        if not any(access.is_subset(scope, [other]) for other in other_scopes):
            widest.append(scope)
    # two equal scopes are a subset of each other
    return "; ".join(map(access.describe_scope, widest or scopes))


def _has_browser(environ: Mapping[str, str]) -> bool:
    """Return whether a browser with windows can be opened here, and somebody sits before it."""
    if "SSH_CONNECTION" in environ or not standard_streams.is_interactive():
        return False
    # elsewhere a browser in text mode would take over the terminal
    return sys.platform in ("darwin", "win32") or any(
        environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
