"""The credential that clients send to a server, and the file, variable or program that has it."""

from dataclasses import dataclass, field
from netrc import NetrcParseError, netrc
from pathlib import Path
from shutil import which
from typing import Final

from wheelyard.doctor.client_settings import FoundSettings, Value
from wheelyard.doctor.findings import Machine, exists
from wheelyard.http_client.saved_logins import TOKEN_USER, ask_keyring
from wheelyard.http_client.urls import Url, UserPassword

KEYRING_SECONDS: Final = 5.0
"""How long one question to the program `keyring` may take."""


@dataclass(frozen=True, slots=True)
class FoundCredential:
    """A user and a password, and where they are from."""

    login: UserPassword = field(repr=False)
    source: str


def find_credentials(
    url: Url, source: str, configured: list[Value], machine: Machine
) -> tuple[list[FoundCredential], list[str]]:
    """
    Return the credentials for a URL in pip's order, and notes about places that have none for it.

    They are those of the URL, which `source` has, of configured indexes, netrc, keyring and a
    variable.
    """
    urls = [(url, source), *((each.url, each.source) for each in configured)]
    found = [
        FoundCredential(known.login, f"the URL of {place}")
        for known, place in urls
        if known is not None and known.login is not None and known.origin == url.origin
    ]
    searched = (_of_netrc(url, machine), _of_keyring(url, machine), _of_variable(machine))
    found += [each for each in searched if isinstance(each, FoundCredential)]
    # a user alone in a URL is completed by what netrc or the keyring has for that user
    first = found[0].login if found else None
    if first is not None and not first.password:
        found.sort(
            key=lambda each: not (each.login.password and each.login.username == first.username)
        )
    return found, [each for each in searched if isinstance(each, str)]


def publish_credentials(
    url: Url, uv: FoundSettings, machine: Machine
) -> tuple[list[FoundCredential], list[str]]:
    """Return what twine and uv are told to publish to a server with; and clauses about .pypirc."""
    twine, variable, path = FoundSettings("twine"), machine.environ.get, machine.home / ".pypirc"
    entries = [
        (each.get("repository"), each.get("username"), each.get("password"), f"[{name}] in {path}")
        for name, each in twine.sections(path).items()
    ]
    name, token = machine.variable("UV_PUBLISH_TOKEN", "UV_PUBLISH_PASSWORD")
    of_twine = variable("TWINE_REPOSITORY_URL"), variable("TWINE_USERNAME")
    entries += [
        (*of_twine, variable("TWINE_PASSWORD"), "$TWINE_PASSWORD"),
        (uv.text("publish-url"), variable("UV_PUBLISH_USERNAME"), token, f"${name}"),
    ]
    found = [
        FoundCredential(UserPassword(user or TOKEN_USER, password), place)
        for repository, user, password, place in entries
        if password and (there := Value(repository or "", place).url) and there.origin == url.origin
    ]
    return found, twine.problems


def _of_netrc(url: Url, machine: Machine) -> FoundCredential | str | None:
    """Return what a netrc file has for a server, or a note why it is not used."""
    named, host = machine.environ.get("NETRC", ""), url.host.strip("[]")
    places = (Path(named),) if named else (machine.home / ".netrc", machine.home / "_netrc")
    path = next((each for each in places if exists(each)), None)
    if path is None:
        return f"$NETRC names {named}, which is not there" if named else None
    try:
        entries = netrc(str(path)).hosts
    except (OSError, NetrcParseError, UnicodeError) as error:
        # the message of a parse error may quote a password
        why = error.strerror if isinstance(error, OSError) else "it is malformed"
        return f"{path} is ignored: {why}"
    key = host if host in entries else "default"
    if key not in entries:
        others = ", ".join(sorted(entries)) or "no machine"
        return f"{path} is for {others}, and not for {host}"
    login, _, password = entries[key]
    place = str(path) if key == host else f"{path} (its entry 'default')"
    return FoundCredential(UserPassword(login, password or ""), place)


def _of_keyring(url: Url, machine: Machine) -> FoundCredential | str | None:
    """Return what the keyring has for a server, or a note why it is not used."""
    program = which("keyring", path=machine.environ.get("PATH"))
    if program is None:
        return None
    try:
        login = ask_keyring(program, url, machine.environ, KEYRING_SECONDS)
    except OSError:
        return f"{program} does not answer"
    place = f"the keyring ({program}; uv asks it with UV_KEYRING_PROVIDER=subprocess only)"
    return None if login is None else FoundCredential(login, place)


def _of_variable(machine: Machine) -> FoundCredential | None:
    name, token = machine.variable("WHEELYARD_TOKEN")
    if not (token and token.isascii() and token.isprintable()):
        return None
    place = f"${name}, which pip and uv do not read"
    return FoundCredential(UserPassword(TOKEN_USER, token), place)
