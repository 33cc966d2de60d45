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
_PRINCIPAL_WITH_ID: Final = re.compile(
    rf"oidc:({PROVIDER_NAME}):{PERSON_NAME}#([0-9a-f]{{{_ID_DIGITS}}})"
)


class PersonId(Struct, frozen=True):
    """What tells a person apart from all others, whatever their name."""

    provider: str
    id: str
    """`Person.id`."""


class Person(Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The stored record of a person who has signed in with a provider."""

    provider: str
    subject: str
    """The claim `sub`, or another id that the provider never changes and never uses again."""
    name: str
    """The name for grants and journals, such as the verified e-mail address."""
    groups: tuple[str, ...] = ()
    """The groups that the provider told of when it last confirmed the person, sorted."""
    confirmed_at: datetime
    """When the provider last confirmed the person: by a sign-in or a renewal."""
    refused_at: datetime | None = None
    """When the provider refused a renewal, or None if the person has signed in since."""
    ended_at: datetime | None = None
    """Since when the person may not sign in, and has no valid session or token, or None."""
    ended_by: str = ""
    """The principal that has ended the access of the person."""
    endings: int = 0
    """
    How often all sessions were ended: by the provider at a renewal, or by an administrator.

    A session holds only while this number is the one with which the session began.
    """
    refresh_token: str = ""
    """The sealed token for renewals of the confirmation, or empty if the provider gave none."""
    renewing_until: datetime | None = None
    """Until when other processes leave a renewal to the process that has begun it, or None."""
    revision: int = 0
    """The number of writes of the record."""
    write_id: str = ""
    """A random text that shows whether a write without a reply has succeeded."""

    @property
    def id(self) -> str:
        """The id of the person at the provider, which stays when the name changes."""
        return id_of_subject(self.subject)

    @property
    def principal(self) -> str:
        """The name of the person in journals and logs: `oidc:acme:ana@acme.dev`."""
        return f"oidc:{self.provider}:{self.name}"

    @property
    def principals(self) -> frozenset[str]:
        """
        All principals by which a grant can name the person.

        They name the person, the groups, and the person with the id. The last one is never that of
        another person who gets the name later.
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
    # a text from JSON may have half of a surrogate pair, which UTF-8 cannot encode
    return sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGITS]


def person_in(principals: Iterable[str]) -> PersonId | None:
    """Return the person of the first principal with an id, or None if no principal has one."""
    for principal in principals:
        match = _PRINCIPAL_WITH_ID.fullmatch(principal)
        if match is not None:
            return PersonId(provider=match[1], id=match[2])
    return None


def counted_as(caller: Caller) -> str:
    """
    Return the text by which limits and counts know a caller, or the owner of the caller's token.

    For a person that is the provider and the id, which stay when the name changes. For any other
    caller it is the principal.
    """
    # a token counts for its owner, so that ten tokens give nobody ten times the limit
    person = person_in(caller.owner_names or caller.principals)
    if person is None:
        return caller.acts_for
    return f"oidc:{person.provider}#{person.id}"


def counted_unless_principal(caller: Caller) -> str:
    """Return `counted_as` of a caller, or an empty text if that is the principal."""
    counted = counted_as(caller)
    if counted == caller.acts_for:
        return ""
    return counted


def normalized_person_name(text: str) -> str:
    """
    Return a text of a provider, or of a grant, as the name of a person in a principal.

    An e-mail address is in lower case, as people write it in either case.
    """
    # one form of each letter, so that names that look the same are the same in grants
    text = unicodedata.normalize("NFC", text.strip())
    if "@" in text:
        return text.lower()
    return text


def is_person_name(text: str) -> bool:
    """Return whether a text can be the name of a person in a principal."""
    # a grant with an invisible name, or one that looks like another, would mislead
    is_unmistakable = text == normalized_person_name(text) and text.isprintable()
    return is_unmistakable and re.fullmatch(PERSON_NAME, text) is not None


def is_group_name(text: str) -> bool:
    """Return whether a text can be the name of a group of a provider in a principal."""
    is_unmistakable = text == text.strip() and text.isprintable()
    return is_unmistakable and re.fullmatch(GROUP_NAME, text) is not None
