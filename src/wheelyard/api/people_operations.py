"""
Operations on people of a provider.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from typing import Annotated

from msgspec import Meta, Struct

from wheelyard.api.operation import Call
from wheelyard.model.person import PERSON_NAME, PROVIDER_NAME

Provider = Annotated[str, Meta(pattern=rf"\A{PROVIDER_NAME}\Z")]
PersonName = Annotated[str, Meta(pattern=rf"\A{PERSON_NAME}\Z")]


class NameRelease(Struct, frozen=True, forbid_unknown_fields=True):
    """The name to release."""

    provider: Provider
    """The provider, as `[[sign_in]]` names it."""
    name: PersonName
    """As in the principal, without the id."""


class ReleasedName(Struct, frozen=True):
    """What was done to release a name."""

    ended: str | None
    """The principal whose access was ended, as it had the name, or null if nobody has it now."""


def release_name(call: Call, body: NameRelease) -> ReleasedName:
    """
    Let the next person who signs in with a name have it, and end the access of who has it now.

    Raises as `PeopleAdministration.release_name`.
    """
    ended = call.index.people_administration.release_name(body.provider, body.name, call.by)
    return ReleasedName(f"{ended.principal}#{ended.id}" if ended is not None else None)
