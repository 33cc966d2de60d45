"""
Grants that name somebody who can never come: a misspelt name, or one whom the settings keep out.

Sentences for `wheelyard config check`. A server does not say them when it starts, because a file of
passwords or tokens may get the name later.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from wheelyard.errors import quoted
from wheelyard.model.grants import Grant
from wheelyard.settings.sections import Settings

ROBOTS: Final = ".gserviceaccount.com"
"""How the e-mail addresses of service accounts end, and no person's."""


def idle_grants(settings: Settings, names: Mapping[str, Collection[str]]) -> list[str]:
    """
    Return what there is to say of those whom grants name and who cannot be.

    Args:
        settings: Those in force.
        names: Who is in the files, by the kind of principal: `htpasswd`, `static`. A kind that is
            left out is not compared.
    """
    known = {kind: frozenset(each) for kind, each in names.items()}
    parts: tuple[Callable[[str, str], str], ...] = (
        lambda kind, name: _why_unknown(kind, name, known),
        _why_nobody,
        lambda kind, name: _why_kept_out(kind, name, settings),
    )
    return [
        f"{grant} names {quoted(f'{kind}:{name}')} to no effect: {why}"
        for grant, kind, name in _named(settings.grants.every)
        if (why := next(filter(None, (part(kind, name) for part in parts)), ""))
    ]


def _named(grants: tuple[Grant, ...]) -> Iterator[tuple[Grant, str, str]]:
    for grant in grants:
        for principal in sorted(grant.who):
            kind, _, name = principal.partition(":")
            yield grant, kind, name


def _why_unknown(kind: str, name: str, known: Mapping[str, Collection[str]]) -> str:
    if kind not in known or name in known[kind]:
        return ""
    place = "[access] htpasswd_file" if kind == "htpasswd" else "the static tokens"
    return f"there is no such name in {place}"


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
    google = settings.google.id_token
    allowed = {domain.lower() for domain in google.allowed_domains}
    domain = name.rpartition("@")[2]
    # Identity-Aware Proxy has a policy of its own, and takes no notice of our list
    if kind not in ("user", "domain") or not allowed or domain in allowed or settings.iap.audience:
        return ""
    unless = ", unless that account belongs to one of them" if kind == "user" else ""
    return f"{domain} is not in [google.id_token] allowed_domains{unless}"
