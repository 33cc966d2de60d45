"""
Operations on the people whom an index knows: what each may do, and the end of their access.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from wheelyard.api.access_operations import CallerRights, TokenAnswer, TokensQuery, list_tokens
from wheelyard.api.operation import Call, Note, Principal
from wheelyard.authentication.known_people import KnownPerson, PersonState
from wheelyard.authentication.rights import PASSWORD_USERS, rights
from wheelyard.errors import Conflict, NotFound, quoted
from wheelyard.model.access import describe_principal
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.grants import groups_of
from wheelyard.model.person import (
    PERSON_NAME,
    PROVIDER_NAME,
    group_principal,
    normalized_person_name,
)
from wheelyard.operations.access_control import OWN_ACCESS

Provider = Annotated[str, Meta(pattern=rf"\A{PROVIDER_NAME}\Z")]
PersonName = Annotated[str, Meta(pattern=rf"\A{PERSON_NAME}\Z")]


class PeopleQuery(Struct, frozen=True):
    """A query for some of the people."""

    search: str = ""
    """A part of the principal, as it is written or in words, or an empty text for all people."""
    state: PersonState | None = None
    group: str = ""
    """The principal of a group of a provider, or an empty text for people of any group or none."""
    limit: Annotated[int, Meta(ge=0, le=1000)] = 0
    """The most people in one answer, or 0 for all."""
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """How many people to leave out before the first one, if `limit` is sent."""


class PeopleList(Struct, frozen=True):
    """People, sorted by principal."""

    people: tuple[KnownPerson, ...]
    total: int | UnsetType = UNSET
    """The number of people without the limit. The field is missing if no limit was sent."""


class PersonQuestion(Struct, frozen=True):
    """The question who somebody is."""

    who: Principal
    """A principal of a person or a service account. With an id, only the person with this id."""


class PersonRight(Struct, frozen=True, omit_defaults=True):
    """What somebody may do, and what gives them the right."""

    who: str
    """The principal or group by which the person has the right, or words such as `everybody`."""
    can: tuple[str, ...]
    projects: tuple[str, ...]
    source: str
    """The grant or the setting that gives the right, in words."""
    note: str = ""
    index: str = ""
    """The indexes that the right names, or an empty text if the right names none."""


class PersonAnswer(Struct, frozen=True, kw_only=True):
    """A person, and what they may do."""

    person: KnownPerson
    principals: tuple[str, ...]
    """All principals by which grants can name the person, as far as they are known."""
    groups: tuple[str, ...]
    """The groups that the person is in."""
    rights: tuple[PersonRight, ...]
    tokens: tuple[TokenAnswer, ...]
    """The tokens that the person owns, the newest first."""


class ProviderGroup(Struct, frozen=True):
    """A group that a provider has named for people who have signed in."""

    principal: str
    people: int
    """How many people of the group may sign in."""


class ProviderGroups(Struct, frozen=True):
    """The groups of providers that were seen so far, sorted."""

    groups: tuple[ProviderGroup, ...]


class NameRelease(Struct, frozen=True, forbid_unknown_fields=True):
    """The name to release."""

    provider: Provider
    """The provider, as `[[sign_in]]` names it."""
    name: PersonName
    """The name of the person, as the principal has it without the id."""


class ReleasedName(Struct, frozen=True):
    """What was done to release a name."""

    ended: str | None
    """
    The principal that had the name and whose access was ended, or None if nobody had the name.
    """


class PersonChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The person whose access to end, or to give again, and why."""

    who: Principal
    """A principal of a person or a service account. With an id, only the person with this id."""
    note: Note = ""
    """Why the access is ended or given again, for the journal: one line of text."""


EVERYBODY: Final = PeopleQuery()


def list_people(call: Call, body: PeopleQuery = EVERYBODY) -> PeopleList:
    """List the people whom the index knows: of providers, passwords, grants and tokens."""
    selected_people = [
        person for person in call.index.server.known_people.all() if _passes_query(person, body)
    ]
    if not body.limit:
        return PeopleList(tuple(selected_people))
    page = selected_people[body.offset : body.offset + body.limit]
    return PeopleList(tuple(page), len(selected_people))


def _passes_query(person: KnownPerson, query: PeopleQuery) -> bool:
    """Return whether a person passes every condition of a query."""
    if query.state is not None and person.state != query.state:
        return False
    if query.group and query.group not in _groups_of(person):
        return False
    text = f"{person.who}\n{describe_principal(person.principal)}"
    return query.search.casefold() in text.casefold()


def show_person(call: Call, body: PersonQuestion) -> PersonAnswer:
    """
    Show a person: groups, what they may do and through what, and their tokens.

    A principal that appears nowhere has an answer, too: its state is `gone`, `unseen` or `unknown`,
    as that of others without a record. Of several people who have had a name, the answer is about
    the one who may sign in. Raises Invalid (code `invalid_field`) if the text is no principal of a
    person or a service account.
    """
    index = call.index
    person = index.server.known_people.find(body.who)
    # selected by the name of the owner, and below by the id
    tokens_of_name = list_tokens(call, TokensQuery(owner=person.principal, sort="-created")).tokens
    records = list[TokenRecord]()
    for token in tokens_of_name:
        record = index.tokens.records.find(token.id)
        # the owner of the token may be another person, who had the name before
        if record is not None and person.owns(record):
            records.append(record)
    principals = index.server.known_people.principals_of(person, records)
    owned_ids = {record.id for record in records}
    return PersonAnswer(
        person=person,
        principals=tuple(sorted(principals)),
        groups=groups_of(principals, index.server.access.load().groups),
        rights=tuple(_rights_of(call, principals, person)),
        tokens=tuple(token for token in tokens_of_name if token.id in owned_ids),
    )


def list_provider_groups(call: Call) -> ProviderGroups:
    """List the groups of providers that people who have signed in were told to be in."""
    counts = dict[str, int]()
    for person in call.index.server.known_people.recorded():
        for group in _groups_of(person):
            # a group of which nobody may sign in is listed, too
            counts.setdefault(group, 0)
            if person.state == "active":
                counts[group] += 1
    groups = [ProviderGroup(principal, count) for principal, count in sorted(counts.items())]
    return ProviderGroups(tuple(groups))


def end_person(call: Call, body: PersonChange) -> KnownPerson:
    """
    End somebody's access: sessions and tokens end on every server within 15 seconds.

    Nothing changes if the access was ended before. Raises Invalid if the text is no principal of a
    person or a service account, or the note is not one line of text. Raises NotFound if the
    principal is of a provider with which nobody of that name has signed in. Raises Conflict (code
    `own_access`) if the person is the caller, and Unauthenticated (code `person_ended`) if the
    access of the caller was ended meanwhile.
    """
    person = _find_changeable(call, body.who)
    own_principals = call.caller.principals
    _require_not_caller(call, person.who)
    # a person of a provider has a record, and the end of other people is kept beside the grants
    if person.provider:
        administration = call.index.server.people_administration
        administration.end(person.provider, person.id, call.by, body.note, own_principals)
    else:
        call.index.server.access.end_person(person.who, call.by, body.note, own_principals)
    # looked up again, so that the answer has the stored state
    return call.index.server.known_people.find(person.who)


def admit_person(call: Call, body: PersonChange) -> KnownPerson:
    """
    Let somebody in again whose access was ended: tokens that were not revoked work again.

    Nothing changes if the access was not ended. Raises Invalid if the text is no principal of a
    person or a service account, or the note is not one line of text. Raises NotFound if the
    principal is of a provider with which nobody of that name has signed in.
    """
    person = _find_changeable(call, body.who)
    if person.provider:
        administration = call.index.server.people_administration
        administration.admit(person.provider, person.id, call.by, body.note)
    else:
        call.index.server.access.admit_person(person.who, call.by, body.note)
    return call.index.server.known_people.find(person.who)


def _require_not_caller(call: Call, who: str) -> None:
    """Raise Conflict (code `own_access`) if a principal is one of the caller."""
    caller = call.caller
    # the owner of a token, for whom it acts, is not among the principals
    own_principals = {*caller.principals, caller.principal, caller.owner}
    if who in own_principals:
        raise Conflict(
            "You would end your own access, and could not take it back. Ask another administrator.",
            code=OWN_ACCESS,
        )


def _find_changeable(call: Call, who: str) -> KnownPerson:
    """Return the person whom a principal names, or raise NotFound if nobody has signed in so."""
    person = call.index.server.known_people.find(who)
    # without an id there is no record in which the end of the access could be written
    if person.provider and not person.id:
        raise NotFound(
            f"Nobody has signed in as {quoted(who)}. Correct the name, or take it out of the "
            "grants and groups."
        )
    return person


def release_name(call: Call, body: NameRelease) -> ReleasedName:
    """
    Let the next person who signs in with a name have it, and end the access of who has it now.

    Raises Conflict (code `own_access`) if the name is that of the caller, and NotFound if nobody
    has it. Raises Unauthenticated (code `person_ended`) if the access of the caller was ended
    meanwhile.
    """
    # in the spelling of the records, in which an address is in lower case
    name = normalized_person_name(body.name)
    _require_not_caller(call, f"oidc:{body.provider}:{name}")
    administration = call.index.server.people_administration
    ended_person = administration.release_name(
        body.provider, body.name, call.by, call.caller.principals
    )
    if ended_person is None:
        return ReleasedName(None)
    return ReleasedName(f"{ended_person.principal}#{ended_person.id}")


def _groups_of(person: KnownPerson) -> list[str]:
    """Return the principals of the groups that the provider has put a person in."""
    return [group_principal(person.provider, group) for group in person.groups]


def _rights_of(
    call: Call, principals: frozenset[str], person: KnownPerson
) -> Iterator[PersonRight]:
    """Yield the rights that a person has by these principals, in all indexes."""
    names_with_rights = set(principals)
    if person.has_password:
        names_with_rights.add(PASSWORD_USERS)
    for right in rights(call.index.authenticator, in_every_index=True):
        if names_with_rights.isdisjoint(right.principals):
            continue
        caller_rights = CallerRights.of(right.scope)
        yield PersonRight(
            who=right.who,
            can=caller_rights.can,
            projects=caller_rights.projects,
            source=right.source,
            note=right.note,
            index=caller_rights.index,
        )
