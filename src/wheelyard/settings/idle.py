"""
Grants that name somebody who can never come: a misspelt name, or one whom the settings keep out.

Some of that only `wheelyard config check` says, and no server that starts: a file of passwords or
tokens may get the name later.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from wheelyard.errors import quoted
from wheelyard.settings.sections import Settings

ROBOTS: Final = ".gserviceaccount.com"
"""How the e-mail addresses of service accounts end, and no person's."""
NO_AUDIENCE: Final = "[google.id_token] audience is not set, so nobody is known by an e-mail"


def idle_kinds(settings: Settings) -> Iterator[str]:
    """Yield what there is to say of kinds of principals that no credential proves here."""
    access, audience = settings.access, settings.google.id_token.audience
    is_person = audience or settings.iap.audience
    idle = {
        "user": "" if is_person else NO_AUDIENCE,
        "domain": "" if is_person else NO_AUDIENCE,
        "serviceAccount": "" if audience else NO_AUDIENCE,
        "htpasswd": "" if access.htpasswd_file else "there is no [access] htpasswd_file",
        "static": ""
        if access.static_tokens_file or access.static_token
        else "there is no static token",
        "token": "a token may do what it was made for",
        "publisher": "its tokens may publish to the projects of its [[publisher]], and no more",
    }
    return _told(settings, lambda kind, _: idle.get(kind, ""))


def idle_grants(settings: Settings, names: Mapping[str, Collection[str]]) -> Iterator[str]:
    """
    Yield what there is to say of those whom grants name and who cannot be.

    Args:
        settings: Those in force.
        names: Who is in the files, by the kind of principal: `htpasswd`, `static`. A kind that is
            left out is not compared.
    """
    places = {"htpasswd": "[access] htpasswd_file", "static": "the static tokens"}

    def why(kind: str, name: str) -> str:
        if kind in names:
            return "" if name in names[kind] else f"there is no such name in {places[kind]}"
        return _why_nobody(kind, name) or _why_kept_out(kind, name, settings)

    return _told(settings, why)


def _told(settings: Settings, why: Callable[[str, str], str]) -> Iterator[str]:
    for grant in settings.grants.every:
        for principal in sorted(grant.who):
            kind, _, name = principal.partition(":")
            if reason := why(kind, name):
                yield f"{grant} names {quoted(principal)} to no effect: {reason}"


def _why_nobody(kind: str, name: str) -> str:
    """Return why nobody at all goes by a name at Google."""
    if kind == "user" and name.endswith(ROBOTS):
        return f"it is a service account; write serviceAccount:{name}"
    address = name.partition("#")[0]
    if kind == "serviceAccount" and not address.endswith(ROBOTS):
        return f"the e-mail of a service account ends in {ROBOTS}"
    return ""


def _why_kept_out(kind: str, name: str, settings: Settings) -> str:
    """Return why somebody's ID token is refused, where nothing but that could prove the name."""
    allowed = {domain.lower() for domain in settings.google.id_token.allowed_domains}
    domain = name.rpartition("@")[2]
    # Identity-Aware Proxy has a policy of its own, and takes no notice of our list
    if kind not in ("user", "domain") or not allowed or domain in allowed or settings.iap.audience:
        return ""
    unless = ", unless that account belongs to one of them" if kind == "user" else ""
    return f"{domain} is not in [google.id_token] allowed_domains{unless}"
