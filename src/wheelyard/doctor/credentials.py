"""The credential that clients send to a server, and the file, variable or program that has it."""

from dataclasses import dataclass, field
from netrc import NetrcParseError, netrc
from pathlib import Path
from shutil import which
from typing import Final

from wheelyard.doctor.client_settings import Value
from wheelyard.doctor.findings import Machine, exists
from wheelyard.http_client.keyring_program import TOKEN_USER, ask_keyring
from wheelyard.http_client.urls import Url, UserPassword

KEYRING_SECONDS: Final = 5.0
"""How long one question to the program `keyring` may take."""


@dataclass(frozen=True, slots=True)
class FoundCredential:
    """A user and a password, and where they are from."""

    login: UserPassword = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class CredentialSearch:
    """The credentials for a server in the order in which pip asks for them, and notes."""

    found: tuple[FoundCredential, ...]
    notes: tuple[str, ...]
    """Sentences about places that are there, and have nothing for the server."""


def find_credentials(
    url: Url, source: str, configured: list[Value], machine: Machine
) -> CredentialSearch:
    """
    Return the credentials for a URL: its own, of index URLs, of netrc, keyring and a variable.

    `source` is the file, variable or option that has the URL.
    """
    found, notes = list[FoundCredential](), list[str]()
    if url.login is not None:
        found.append(FoundCredential(url.login, f"the URL of {source}"))
    for value in configured:
        other = value.url
        if other is not None and other.login is not None and other.origin == url.origin:
            found.append(FoundCredential(other.login, f"the URL of {value.source}"))
    _search_netrc(url, machine, found, notes)
    _search_keyring(url, machine, found, notes)
    name, token = machine.variable("WHEELYARD_TOKEN")
    if token and token.isascii() and token.isprintable():
        found.append(
            FoundCredential(
                UserPassword(TOKEN_USER, token), f"${name}, which pip and uv do not read"
            )
        )
    # a user alone in a URL is completed by what netrc or the keyring has for that user
    first = found[0].login if found else None
    if first is not None and not first.password:
        found.sort(
            key=lambda each: not (each.login.password and each.login.username == first.username)
        )
    return CredentialSearch(tuple(found), tuple(notes))


def _search_netrc(
    url: Url, machine: Machine, found: list[FoundCredential], notes: list[str]
) -> None:
    named, host = machine.environ.get("NETRC", ""), url.host.strip("[]")
    places = (Path(named),) if named else (machine.home / ".netrc", machine.home / "_netrc")
    path = next((each for each in places if exists(each)), None)
    if path is None:
        if named:
            notes.append(f"$NETRC names {named}, which is not there")
        return
    try:
        entries = netrc(str(path)).hosts
    except (OSError, NetrcParseError, UnicodeError) as error:
        # the message of a parse error may quote a password
        why = error.strerror if isinstance(error, OSError) else "it is malformed"
        notes.append(f"{path} is ignored: {why}")
        return
    key = host if host in entries else "default"
    if key not in entries:
        others = ", ".join(sorted(entries)) or "no machine"
        notes.append(f"{path} is for {others}, and not for {host}")
        return
    login, _, password = entries[key]
    place = str(path) if key == host else f"{path} (its entry 'default')"
    found.append(FoundCredential(UserPassword(login, password or ""), place))


def _search_keyring(
    url: Url, machine: Machine, found: list[FoundCredential], notes: list[str]
) -> None:
    program = which("keyring", path=machine.environ.get("PATH"))
    if program is None:
        return
    try:
        login = ask_keyring(program, url, machine.environ, KEYRING_SECONDS)
    except OSError:
        notes.append(f"{program} does not answer")
        return
    if login is not None:
        place = f"the keyring ({program}; uv asks it with UV_KEYRING_PROVIDER=subprocess only)"
        found.append(FoundCredential(login, place))
