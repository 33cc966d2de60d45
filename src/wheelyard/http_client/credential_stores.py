"""
Where the clients of this machine find credentials: in a netrc file, and in a keyring.

A keyring is asked by its command `keyring`, as uv asks it, which works wherever it is installed:
beside wheelyard, or as a tool of its own. A token is stored under the URLs that clients ask for,
and never under a host alone: clients would send that over plain http, too.

Of a netrc file only one form of line is written and replaced. Everything else in it stays byte for
byte.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Final

from wheelyard.http_client.urls import Url, UserPassword

TOKEN_USER: Final = "__token__"  # noqa: S105 - the name of a user
SERVICES: Final = ("/", "/simple/", "/simple", "/legacy/")
"""
The ends of the URLs under which a keyring has the token of an index, after its root URL.

The first is for wheelyard itself, the next for pip, uv and PDM, then Poetry, then all that publish.
"""


def read_netrc(path: Path) -> dict[str, UserPassword]:
    """
    Return the entries of a netrc file by host in lower case, without `default`.

    The result is empty if the file is missing or invalid, or cannot be read.
    """
    try:
        hosts = netrc(str(path)).hosts
    except (OSError, NetrcParseError, UnicodeError):
        return {}
    logins = {}
    for host, (user, _, password) in hosts.items():
        # `default` would give its password to every host that is asked
        if host != "default":
            logins[host.lower()] = UserPassword(user, password or "")
    return logins


def ask_keyring(
    program: str, server: Url, environ: Mapping[str, str], seconds: float
) -> UserPassword | None:
    """
    Return the credential that a keyring has for the URL or the host of a server, or None.

    The keyring is asked as pip and twine ask, up to three times, for the user of the URL, or for
    `__token__`. `program` is the path of the command `keyring`. Raises TimeoutError if one question
    is not answered within `seconds`: the keyring may wait for somebody who unlocks it. Raises
    another OSError if the program cannot be run.
    """
    asked_user = TOKEN_USER
    if server.login is not None and server.login.username:
        asked_user = server.login.username
    for arguments in _questions(server, asked_user):
        try:
            completed = subprocess.run(  # noqa: S603 - as pip and uv do
                [program, *arguments],
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        # `--mode creds` prints user and password, and `get` alone the password
        lines = completed.stdout.decode(errors="replace").splitlines()
        password = lines[-1] if lines else ""
        if completed.returncode == 0 and password:
            user = lines[0] if len(lines) > 1 else asked_user
            return UserPassword(user, password)
    return None


def _questions(server: Url, user: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of `keyring` for each question about a user of a server."""
    # older versions of keyring lack the mode, and fail
    yield "--mode", "creds", "get", server.redacted
    yield "get", server.redacted, user
    yield "get", server.authority, user


class KeyringFailed(Exception):
    """A keyring does not store a token. The message is the rest of a sentence about the keyring."""


@dataclass(frozen=True, slots=True)
class TokenKeyring:
    """The entries of one index in a keyring, with the user name of tokens."""

    program: str
    """The path of the command `keyring`."""
    root: str
    """The root URL of the index, without a slash at its end."""
    environ: Mapping[str, str]
    seconds: float
    """How long one command may take, in which a person may have to unlock the keyring."""

    def token(self) -> str:
        """
        Return the stored token, or an empty text if there is no token, or the program fails.

        Raises KeyringFailed if the program cannot be run, or does not answer in time.
        """
        return self._run("get", f"{self.root}{SERVICES[0]}")

    def store(self, token: str) -> None:
        """
        Store a token under all URLs of the index, in place of an earlier token.

        Raises KeyringFailed if the token cannot be stored, or the keyring does not give it back.
        Then, as after any other exception, all entries are removed, also those of the earlier
        token.
        """
        try:
            self._store_first(token)
            for service in SERVICES[1:]:
                self._run("set", f"{self.root}{service}", token)
        except BaseException:
            # also if the person stops the command: half of a login would serve some clients only
            self.remove()
            raise

    def remove(self) -> None:
        """Remove the entries, up to the first failure of the keyring, which raises nothing."""
        with suppress(KeyringFailed):
            for service in SERVICES:
                self._run("del", f"{self.root}{service}")

    def _store_first(self, token: str) -> None:
        """Store a token under the first URL. Raises KeyringFailed unless it can be read there."""
        self._run("set", f"{self.root}{SERVICES[0]}", token)
        if self.token() != token:
            raise KeyringFailed("does not give back what was stored")

    def _run(self, verb: str, service: str, token: str = "") -> str:
        """
        Return what the program prints for a service, or an empty text if the program fails.

        The program also fails to read or to delete an entry that does not exist. Raises
        KeyringFailed if it cannot be run, does not answer in time, or fails to store.
        """
        try:
            completed = subprocess.run(  # noqa: S603 - as pip and uv do
                [self.program, verb, service, TOKEN_USER],
                env=self.environ,
                input=token.encode(),
                capture_output=True,
                check=False,
                timeout=self.seconds,
            )
        except subprocess.TimeoutExpired:
            raise KeyringFailed(f"does not answer within {self.seconds:.0f} seconds") from None
        except OSError as error:
            raise KeyringFailed(f"cannot be run: {error.strerror}") from None
        if verb == "set" and completed.returncode:
            raise KeyringFailed("stores nothing here")
        if completed.returncode:
            return ""
        return completed.stdout.decode(errors="replace").strip()


class NetrcProblem(Exception):
    """A netrc file cannot take a token. The message says why, and has no secret."""


def netrc_path(environ: Mapping[str, str], home: Path, *, is_windows: bool) -> Path:
    """
    Return the path of the netrc file that clients read, which `NETRC` or the home folder has.

    The file may be missing.
    """
    if environ.get("NETRC"):
        return Path(environ["NETRC"])
    dotted = home / ".netrc"
    if not is_windows:
        return dotted
    # the name of curl and git on Windows; Python's requests reads both
    underscored = home / "_netrc"
    if dotted.exists() and not underscored.exists():
        return dotted
    return underscored


def token_in_netrc(path: Path, host: str) -> str:
    """
    Return the token of a host in a netrc file, or an empty text if the host has no entry.

    Raises NetrcProblem if the file is damaged, or if clients would not use a token that is written
    into it, because of an entry for the host in another form. Raises OSError if the file cannot be
    read.
    """
    try:
        entry = netrc(str(path)).hosts.get(host)
    except FileNotFoundError:
        return ""
    except (NetrcParseError, UnicodeError):
        raise NetrcProblem(f"{path} is damaged, so no client reads it. Repair it first.") from None
    # of several entries, clients use the first or the last one, and none in a `macdef`
    tokens = _token_line(host).findall(_read(path))
    written_logins = [(TOKEN_USER, token) for token in tokens]
    used_logins = []
    if entry:
        user, _, password = entry
        used_logins.append((user, password))
    if written_logins != used_logins:
        raise NetrcProblem(
            f"{path} has an entry for {host} with a user name, in a form of its own, in a macro or "
            "beside another one, so clients would not use a new token. Remove it first."
        )
    return tokens[0] if tokens else ""


def with_token(text: str, host: str, token: str) -> str:
    """
    Return the text of a netrc file with the token of a host, everything else unchanged.

    An entry of the host in another form stays, and clients may use that one.
    """
    line = f"machine {host} login {TOKEN_USER} password {token}"
    if _token_line(host).search(text):
        # a function, as in a template a backslash of the token would have a meaning
        return _token_line(host).sub(lambda _: line, text, count=1)
    # at the beginning: nothing before it can be unfinished, and `default` has to be the last
    return f"{line}\n{text}"


def without_token(text: str, host: str) -> str:
    """
    Return the text of a netrc file without the line of a host's token, everything else unchanged.

    An entry of the host in another form stays.
    """
    whole_line = rf"{_token_line(host).pattern}\r?\n?"
    return re.sub(whole_line, "", text, count=1, flags=re.MULTILINE)


def netrc_text(path: Path) -> str:
    """
    Return the text of a netrc file, which is empty if the file is missing.

    `netrc_bytes` turns the text back. Raises OSError if the file cannot be read.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        return ""


def netrc_bytes(text: str) -> bytes:
    """Return the bytes of the text of a netrc file. Bytes that are no UTF-8 stay as they were."""
    return text.encode("utf-8", "surrogateescape")


def _read(path: Path) -> str:
    """Return the text of a netrc file, in which each byte that is no UTF-8 is a surrogate."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _token_line(host: str) -> re.Pattern[str]:
    """Return the pattern of the only line that is written and replaced. Its group is the token."""
    blanks = "[ \\t]+"
    words = ("machine", re.escape(host), "login", TOKEN_USER, "password", r"(\S+)")
    return re.compile(rf"^{blanks.join(words)}[ \t]*(?=\r?$)", re.MULTILINE)
