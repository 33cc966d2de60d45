"""
People who sign in with an OpenID Connect provider, as the index remembers them.

A provider tells people apart by the claim `sub`, which never changes. The name is for grants, pages
and journals: it may change, so a person is always looked up by provider and subject.
"""

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Final

from msgspec import Struct

from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS, Caller
from wheelyard.model.decoding import Extensible

PROVIDER_NAME: Final = r"[a-z][a-z0-9-]{0,30}"
"""The regular expression of the name of a provider: that of a `[[sign_in]]` table."""
PERSON_NAME: Final = r"[^\x00-\x1f\x7f:,#]{1,255}"
"""The regular expression of the name of a person."""
GROUP_NAME: Final = r"[^\x00-\x1f\x7f,]{1,255}"
"""The regular expression of a group of a provider."""
OIDC_PRINCIPAL: Final = (
    rf"{PROVIDER_NAME}:(?:group:{GROUP_NAME}|{PERSON_NAME}(?:\#[0-9a-f]{{32}})?)"
)
"""The regular expression of what follows `oidc:` in a principal."""
_ID_DIGITS: Final = 32
_UNIQUE: Final = re.compile(rf"oidc:({PROVIDER_NAME}):{PERSON_NAME}#([0-9a-f]{{{_ID_DIGITS}}})")


class PersonId(Struct, frozen=True):
    """What tells a person apart from all others, whatever their name."""

    provider: str
    id: str
    """`Person.id`."""


class Person(Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The stored record of a person who has signed in with a provider."""

    provider: str
    subject: str
    """The claim `sub`, or what else the provider never changes and never uses again."""
    name: str
    """Such as the verified e-mail address, by which grants and journals name the person."""
    groups: tuple[str, ...] = ()
    """The groups that the provider told of when it last confirmed the person, sorted."""
    confirmed_at: datetime
    """When the provider last confirmed the person: by a sign-in or a renewal."""
    refused_at: datetime | None = None
    """When the provider refused a renewal, until the person signs in again."""
    ended_at: datetime | None = None
    """Since when the person may not sign in, and no session and token of theirs works, if so."""
    ended_by: str = ""
    """The principal that has ended it."""
    endings: int = 0
    """How often all sessions were ended: by the provider at a renewal, or by an administrator."""
    refresh_token: str = ""
    """What the provider renews the confirmation for, sealed. Empty if it has given none."""
    renewing_until: datetime | None = None
    """Until when other processes leave a renewal to the one that has begun it."""
    revision: int = 0
    """The number of writes of the record."""
    write_id: str = ""
    """A random text that shows whether a write without a reply has succeeded."""

    @property
    def id(self) -> str:
        """What tells the person apart from all others of the provider, also after a new name."""
        return id_of_subject(self.subject)

    @property
    def principal(self) -> str:
        """The name of the person in journals and logs: `oidc:acme:ana@acme.dev`."""
        return f"oidc:{self.provider}:{self.name}"

    @property
    def principals(self) -> frozenset[str]:
        """
        All principals by which a grant can name the person.

        Besides name and groups, it is the name with the id, which nobody else who gets that name
        later has.
        """
        principals = {self.principal, f"{self.principal}#{self.id}", ALL_AUTHENTICATED, ANONYMOUS}
        for group in self.groups:
            principals.add(group_principal(self.provider, group))
        return frozenset(principals)


def group_principal(provider: str, group: str) -> str:
    """Return the principal of a group of a provider: `oidc:acme:group:platform`."""
    return f"oidc:{provider}:group:{group}"


def id_of_subject(subject: str) -> str:
    """Return 32 hexadecimal digits of the SHA-256 of a subject, which may have any characters."""
    # a stranger's text: in JSON it may have half of a pair of surrogates, which UTF-8 has not
    return sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGITS]


def person_in(principals: Iterable[str]) -> PersonId | None:
    """Return the person whom the principal with an id among `principals` names, or None."""
    matches = filter(None, map(_UNIQUE.fullmatch, principals))
    return next((PersonId(match[1], match[2]) for match in matches), None)


def counted_as(caller: Caller) -> str:
    """
    Return what stands in limits and counts for a caller, or for the owner of its token.

    Of a person that is provider and id, which stay the same under another name. Of anybody else it
    is the principal.
    """
    # of a token its owner: who makes ten tokens does not get ten times as much
    person = person_in(caller.owner_names or caller.principals)
    if person is None:
        return caller.acts_for
    return f"oidc:{person.provider}#{person.id}"


def counted_apart(caller: Caller) -> str:
    """Return what stands in limits for a caller, or an empty text if that is the principal."""
    counted = counted_as(caller)
    if counted == caller.acts_for:
        return ""
    return counted


def person_name(text: str) -> str:
    """
    Return a text of a provider, or of a grant, as the name of a person in a principal.

    An e-mail address is in lower case, as people write it in either.
    """
    # one form of each letter: a name that looks the same is the same in grants
    text = unicodedata.normalize("NFC", text.strip())
    if "@" in text:
        return text.lower()
    return text


def is_person_name(text: str) -> bool:
    """Return whether a text can be the name of a person in a principal."""
    # what looks empty, or like another name, would be taken for somebody else in a grant
    is_visible = text == person_name(text) and text.isprintable()
    return is_visible and re.fullmatch(PERSON_NAME, text) is not None


def is_group_name(text: str) -> bool:
    """Return whether a text can be the name of a group of a provider in a principal."""
    is_visible = text == text.strip() and text.isprintable()
    return is_visible and re.fullmatch(GROUP_NAME, text) is not None
