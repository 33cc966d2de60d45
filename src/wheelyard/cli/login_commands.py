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
PRIVATE_FILE_MODE: Final = 0o600
HOST_CHARS: Final = 60
MAX_DESCRIBED_RIGHTS: Final = 20
"""The most rights of a token that are shown, as a server may send any number of them."""
OWN_TOKEN_ENDED_CODES: Final = (OWNER_ENDED, TOKEN_EXPIRED, TOKEN_REVOKED)
"""The codes with which a server refuses a token that it has made, and that has ended."""
URL: Final = Argument(["url"], metavar="[URL]", default=lambda: _variable_or_empty(URL_VARIABLE))
"""The root of a server, by default the value of `$WHEELYARD_URL`."""
INDEX: Final = Option(
    ["--index"],
    default=lambda: _variable_or_empty(INDEX_VARIABLE),
    metavar="NAME",
    help="The index that the token is for, such as prod.  [default: $WHEELYARD_INDEX, else main]",
)


class TokenStore(Struct, frozen=True):
    """The place of the token of one index on this machine: the keyring, or netrc."""

    server: Url
    netrc: Path
    keyring: credential_stores.TokenKeyring | None
    """The keyring, or None without the command `keyring`."""

    @classmethod
    def of(cls, server: Url, environ: Mapping[str, str]) -> "TokenStore":
        """Return the place of the token of the index at this URL, on this machine."""
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
        Return the token in netrc, or an empty text if netrc has none.

        Raises Invalid (code `bad_setting`) if netrc is damaged, or has an entry that cannot be
        replaced, and that clients take before all others. Raises OSError if netrc cannot be read.
        """
        try:
            return credential_stores.token_in_netrc(self.netrc, self.host)
        except credential_stores.NetrcProblem as problem:
            raise Invalid(escaped(str(problem)), code="bad_setting") from None

    def replaced_tokens(self) -> dict[str, str]:
        """
        Return the stored tokens, which a new one replaces, and warn if netrc has one of the host.

        The tokens are by their places, as in `tokens`. Raises Invalid (code `bad_setting`) if netrc
        is damaged, if netrc is needed and cannot be written, or if netrc has an entry that cannot
        be replaced, and that clients take before all others. Raises OSError if netrc cannot be
        read.
        """
        is_in_netrc = bool(self.in_netrc())
        needs_netrc = is_in_netrc or self.keyring is None
        # netrc is replaced by a new file, which is made in the same folder
        folder = self.netrc.resolve().parent
        if needs_netrc and not os.access(folder, os.W_OK):
            raise Invalid(
                f"The token cannot be stored in {escaped(self.netrc_name)}: the folder is missing, "
                "or you may not write there. Make the folder, or set NETRC to another file.",
                code="bad_setting",
            )
        if is_in_netrc:
            warn(
                f"{escaped(self.netrc_name)} has a token for {self.host} already, which the new "
                "one replaces, also if it is of another index on that host"
            )
        return self.tokens()

    def store(self, token: str) -> str:
        """
        Store a token, and return the path of the netrc file, or an empty text for the keyring.

        A token in netrc is replaced there, as clients look there first. If the keyring fails, a
        message is printed, and netrc is used. Raises Invalid (code `bad_setting`) if netrc is
        damaged, or has an entry that cannot be replaced, and OSError if netrc cannot be read or
        written.
        """
        if not self.in_netrc() and self.keyring is not None:
            try:
                self.keyring.store(token)
            except credential_stores.KeyringFailed as failure:
                # as on a machine without a desktop, where nobody unlocks the keyring
                print_message(logging.INFO, f"{self.netrc_name} is used, as the keyring {failure}")
            else:
                return ""
        old_text = credential_stores.netrc_text(self.netrc)
        self._write_netrc(credential_stores.with_token(old_text, self.host, token))
        return self.netrc_name

    @property
    def netrc_name(self) -> str:
        """The path of netrc as people write it."""
        with suppress(ValueError):
            return f"~/{self.netrc.relative_to(Path.home()).as_posix()}"
        return str(self.netrc)

    def tokens(self) -> dict[str, str]:
        """
        Return the stored tokens by their places in words, first the keyring, then netrc.

        A keyring that fails has no token, nor has an entry of netrc in another form. Raises OSError
        if netrc cannot be read.
        """
        tokens = dict[str, str]()
        if self.keyring is not None:
            with suppress(credential_stores.KeyringFailed):
                tokens["the keyring"] = self.keyring.token()
        # Invalid: an entry of another form was not written by this command
        with suppress(Invalid):
            tokens[self.netrc_name] = self.in_netrc()
        return {place: token for place, token in tokens.items() if token}

    def remove(self, place: str) -> None:
        """
        Remove the token at one of the places of `tokens`. A keyring that fails keeps the token.

        Raises OSError if netrc cannot be read or written.
        """
        if place == self.netrc_name:
            old_text = credential_stores.netrc_text(self.netrc)
            self._write_netrc(credential_stores.without_token(old_text, self.host))
        elif self.keyring is not None:
            self.keyring.remove()

    def _write_netrc(self, text: str) -> None:
        """Replace netrc by a file that only its owner can read."""
        content = credential_stores.netrc_bytes(text)
        replace_file(self.netrc, content, PRIVATE_FILE_MODE, keeps_mode=False)


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
        name = _machine_name()
    actions = access.parse_actions(can.split(","))
    patterns = {access.parse_pattern(project) for project in projects}
    new_token = WantedToken(
        name=name,
        actions=actions,
        projects=tuple(sorted(patterns)) or (access.EVERY_PROJECT,),
        days=days,
        index=index,
    )
    replaced_tokens = dict[str, str]()
    if not prints:
        # raises before anybody makes a token in vain
        replaced_tokens = store.replaced_tokens()
    opens_browser = not no_browser and has_browser(environ)
    token = _show_form_and_ask(form_address(root, new_token), opens=opens_browser)
    rights = check_token(server, token, system_runtime())

    # raises for rights that are none: a token of a server that is no index must not be stored
    rights_in_words = _describe_rights(rights)
    netrc_name = ""
    if prints:
        _print_token(token)
    else:
        netrc_name = store.store(token.text)
    _tell_person(escaped(f"Token {token.id}: {rights_in_words}"))
    if not prints:
        may_upload = any(access.Action.UPLOAD.word in right.can for right in rights)
        _tell_where_stored(store, netrc_name, token, replaced_tokens, may_upload=may_upload)


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

    A token that has ended is removed as well. A token in netrc that this index does not accept for
    another reason is kept, as it may be of another index on the same host, and the command fails.
    Without a stored token, the command fails, too.
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

    # each token is revoked before it is removed: else it would live on, and nobody could revoke it
    for place, token in tokens.items():
        try:
            revoke(server, token, system_runtime())
        except Unauthenticated as fault:
            if place == store.netrc_name and fault.code not in OWN_TOKEN_ENDED_CODES:
                raise Invalid(
                    f"{server.redacted} does not accept the token in {escaped(place)}, which may "
                    f"be of another index on {store.host}, so it is kept and not revoked. Log out "
                    f"there, or delete the line 'machine {store.host} login __token__' yourself.",
                    code="bad_setting",
                ) from fault
            warn(f"the token in {escaped(place)} did not work any more")
        else:
            _tell_person(f"The token in {escaped(place)} is revoked.")
        store.remove(place)
    _tell_person("It is removed from this machine.")


def _variable_or_empty(variable: str) -> str:
    return process_environment().get(variable, "")


def _machine_name() -> str:
    return to_one_line(platform.node(), HOST_CHARS) or "an unnamed machine"


def _show_form_and_ask(address: str, *, opens: bool) -> ApiToken:
    """
    Show the page of a new token, and return the token that a person has made there.

    Raises Invalid if standard input has another text than a token, and UsageError if it has none.
    """
    _tell_person(f"Make a token on this page, and copy it:\n\n  {address}\n")
    if opens:
        webbrowser.open(address)
    return _ask_for_token()


def _ask_for_token() -> ApiToken:
    """
    Return the token that a person types, who is asked until it is one, or that of standard input.

    Raises Invalid if standard input has another text than a token, and UsageError if it has none.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        while True:
            token = parse_token(click.prompt("Token", hide_input=True, err=True).strip())
            if token is not None:
                return token
            _tell_person("That is not a whole token of a wheelyard index. Copy it again.")
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


def _print_token(token: ApiToken) -> None:
    """Print a token, or raise Unavailable if standard output does not take the token."""
    click.echo(token.text)
    if standard_streams.is_output_lost():
        raise Unavailable("The token cannot be printed. Try again.")


def _tell_person(text: str) -> None:
    """Print a text on standard error, as standard output has the token alone."""
    click.echo(text, err=True)


def _tell_where_stored(
    store: TokenStore,
    netrc_name: str,
    token: ApiToken,
    replaced_tokens: Mapping[str, str],
    *,
    may_upload: bool,
) -> None:
    _tell_person(escaped(f"It is stored in {netrc_name or 'the keyring'}."))
    # keyring and netrc may have had the same token
    for text in sorted(set(replaced_tokens.values()) - {token.text}):
        replaced_token = parse_token(text)
        # an entry of netrc may have another text than a token of an index
        if replaced_token is not None:
            _tell_person(
                f"It replaces {replaced_token.id}, which works on: revoke that if nothing uses it."
            )
    stored = StoredToken(
        root=store.server.redacted.rstrip("/"),
        host=store.host,
        netrc=netrc_name,
        may_upload=may_upload,
        is_windows=IS_WINDOWS,
    )
    for line in login_lines(stored):
        _tell_person(escaped(line))


def _describe_rights(rights: Sequence[CallerRights]) -> str:
    """
    Return what a token may do, in words.

    Raises Invalid if a word or an index of a right is none.
    """
    scopes = [right.scope for right in rights[:MAX_DESCRIBED_RIGHTS]]
    # several grants may give a right: scopes within another one are not told
    widest_scopes = list[access.Scope]()
    for scope in scopes:
        other_scopes = [other_scope for other_scope in scopes if other_scope is not scope]
        if not any(access.is_subset(scope, [other_scope]) for other_scope in other_scopes):
            widest_scopes.append(scope)
    # of equal scopes alone, each is within another one
    told_scopes = widest_scopes or scopes
    return "; ".join(access.describe_scope(scope) for scope in told_scopes)


def has_browser(environ: Mapping[str, str]) -> bool:
    """Return whether a person sits at this machine, and a browser with windows can be opened."""
    if "SSH_CONNECTION" in environ or not standard_streams.is_interactive():
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    # without a display, a browser in text mode would take over the terminal
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
