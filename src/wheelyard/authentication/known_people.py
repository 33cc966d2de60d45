"""
Everybody whom an index knows: people of providers, of the htpasswd file, of grants and of tokens.

There is no list of all people. A person of a provider has a record. Other people are only names in
the htpasswd file, in grants and groups, and of owners of tokens. To list everybody costs, on a
bucket, a request for each thousand people and each thousand tokens, and one for each record that
this process has not read since it was changed.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import OWNER_PREFIXES, PASSWORD, PROVIDER
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.grants import Grants, parse_principal, with_implied
from wheelyard.model.person import Person, group_principal, person_in
from wheelyard.remedies import Advice, Caution, Remedy

PersonState = Literal["active", "refused", "ended", "gone", "unseen", "unknown"]
"""
Whether a person may sign in.

- active: the provider has confirmed the person, or the htpasswd file has a line for the person
- refused: the provider has refused to confirm the person, who has not signed in since
- ended: an administrator has ended the access of the person
- gone: the file has no line for the person, or the settings do not have the provider any more
- unseen: a grant names the person, and nobody of this name has signed in with the provider
- unknown: the person signs in with Google, and no record is kept
"""
_GROUP_PREFIX: Final = "group:"
_GOOGLE_KINDS: Final = frozenset({"user", "serviceAccount", "domain"})
"""The kinds of principals that credentials of Google prove."""


class KnownPerson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person, or a service account, whom an index knows."""

    principal: str
    """The principal by which journals name the person, without the id."""
    id: str = ""
    """The id by which the provider tells the person apart, or empty without a record."""
    state: PersonState
    groups: tuple[str, ...] = ()
    """The groups that the provider has named in its last confirmation."""
    confirmed: datetime | None = None
    """When the provider last confirmed the person, or None if it never did."""
    ended: datetime | None = None
    """When an administrator ended the access of the person, or None if nobody has ended it."""
    ended_by: str = ""
    """The principal of the administrator who ended the access of the person, or an empty text."""

    @property
    def who(self) -> str:
        """The principal with the id, which nobody else has, or the principal without an id."""
        return f"{self.principal}#{self.id}" if self.id else self.principal

    @property
    def provider(self) -> str:
        """The name of the person's provider of `[[sign_in]]`, or an empty text without one."""
        if not self.principal.startswith(PROVIDER):
            return ""
        provider, _, _ = self.principal.removeprefix(PROVIDER).partition(":")
        return provider

    @property
    def has_password(self) -> bool:
        """Whether the person is or was a user of the htpasswd file."""
        return self.principal.startswith(PASSWORD)

    def owns(self, record: TokenRecord) -> bool:
        """Return whether the person owns a token, and not somebody who had the name before."""
        owner = person_in(record.owner_names)
        may_be_same_person = owner is None or not self.id or owner.id == self.id
        return record.owner == self.principal and may_be_same_person


class KnownPeople(Struct, frozen=True, kw_only=True):
    """
    Lists and finds the people whom an index knows.

    Each method raises Unavailable if the store does not answer.
    """

    authenticator: Authenticator

    def all(self) -> list[KnownPerson]:
        """Return everybody whom the index knows, sorted by principal."""
        recorded = list(self.recorded())
        people = {person.who: person for person in recorded}
        recorded_names = {person.principal for person in recorded}
        recorded_ids = {(person.provider, person.id) for person in recorded}
        principals = {f"{PASSWORD}{name}" for name in self._htpasswd_names()}
        principals.update(_people_in_grants(self._grants()))
        for principal in principals:
            # a grant names a person with or without the id: the list has the person once
            if principal not in people and principal not in recorded_names:
                people[principal] = self._person_of_principal(principal)
        # owners whom nothing else names: people of Google, and people who have left
        for record in self.authenticator.tokens.records.all():
            person = person_in(record.owner_names)
            is_recorded = person is not None and (person.provider, person.id) in recorded_ids
            if record.owner and not is_recorded and record.owner not in people:
                people[record.owner] = self._person_of_principal(record.owner)
        return sorted(people.values(), key=lambda person: (person.principal, person.id))

    def recorded(self) -> Iterator[KnownPerson]:
        """Yield the people who have signed in with a provider, by their records."""
        return map(self._person_of_record, self.authenticator.owners.people.all())

    def find(self, text: str) -> KnownPerson:
        """
        Return the person whom a principal names, also if the index does not know the person.

        If several people have had the name, return the person who may sign in, or else any of them.
        Raises Invalid (code `invalid_field`) if the text is no principal of a person or a service
        account.
        """
        try:
            principal = parse_principal(text)
        except Invalid as fault:
            raise Invalid(fault.message, code="invalid_field") from fault
        if not _is_person(principal):
            raise Invalid(f"{quoted(text)} is no person.", code="invalid_field")
        if not principal.startswith(PROVIDER):
            return self._person_of_principal(principal)
        return self._find_among(self.recorded(), principal)

    def _find_among(self, recorded: Iterable[KnownPerson], principal: str) -> KnownPerson:
        """
        Return the person whom a principal names among these people.

        If it names none of them, return a person without a record.
        """
        matching = [person for person in recorded if principal in {person.principal, person.who}]
        if not matching:
            return self._person_of_principal(principal)
        for person in matching:
            # the name belongs to the person who may sign in
            if person.state == "active":
                return person
        return matching[0]

    def principals_of(
        self, person: KnownPerson, owned: Iterable[TokenRecord] = ()
    ) -> frozenset[str]:
        """
        Return all known principals by which grants can name a person.

        `owned` are tokens of the person: a token of a Google account has its Workspace domain.
        """
        names = {person.principal, person.who}
        names |= {group_principal(person.provider, group) for group in person.groups}
        for record in owned:
            if not person.provider:
                names |= set(record.owner_names)
        return with_implied(names)

    def absent(self, principals: Iterable[str], undo: str) -> Iterator[Caution]:
        """
        Yield a warning for each principal through which nobody can have a right now.

        Nobody has the principal, or the access of the person who has it was ended. `undo` has the
        words for what takes the right back.

        There are no records of people who sign in with Google. So while people can sign in with
        Google, there is no warning for a principal of Google. There is never one for a principal of
        a provider that the settings do not have.
        """
        names = sorted(principals)
        recorded = list[KnownPerson]()
        # the records cost a request for each thousand people, which only these names need
        if any(name.startswith(PROVIDER) for name in names):
            recorded += self.recorded()
        existing_principals = self._existing_principals(names, recorded)
        for name in names:
            person = None
            if _is_person(name):
                person = self._find_among(recorded, name)
            why = ""
            if name not in existing_principals:
                why = self._why_absent(name)
            if person is not None and person.state == "ended":
                yield Caution(
                    f"nobody gets anything by {name} now: {person.ended_by} has ended that access. "
                    f"If it is to stay so, {undo}.",
                    Advice(Remedy.ADMIT_PERSON, person.who),
                )
            elif why:
                yield Caution(f"nobody has {name} now: {why}; if the name is wrong, {undo}")

    def _why_absent(self, principal: str) -> str:
        """Return why nobody has an unknown principal, or an empty text if somebody may have it."""
        kind = principal.partition(":")[0]
        if kind in _GOOGLE_KINDS and not self._takes_google:
            return "the settings let nobody sign in with Google"
        if kind == "oidc" and self._is_of_provider(principal):
            is_person = is_provider_person(principal)
            who = "has this name" if is_person else "is in this group"
            return f"nobody who has signed in {who}"
        if kind == "static":
            return "no static token has this name"
        if kind != "htpasswd":
            return ""
        if self.authenticator.htpasswd is None:
            return "the settings name no htpasswd file"
        return "it is not in the htpasswd file"

    def _existing_principals(
        self, names: Collection[str], recorded: Iterable[KnownPerson]
    ) -> set[str]:
        """
        Return the principals that somebody has: of the `recorded` people, users and static tokens.

        If `names` has principals of Google, and nobody can sign in with Google any more, the result
        has the principals of owners of tokens, too.
        """
        kinds = {name.partition(":")[0] for name in names}
        principals = {f"{PASSWORD}{name}" for name in self._htpasswd_names()}
        static_tokens = self.authenticator.static_tokens.all().values()
        principals |= {token.identity.principal for token in static_tokens}
        for person in recorded:
            principals |= self.principals_of(person)
        asks_for_google = not kinds.isdisjoint(_GOOGLE_KINDS)
        if asks_for_google and not self._takes_google:
            for record in self.authenticator.tokens.records.all():
                principals |= with_implied(record.owner_names)
        return principals

    @property
    def _takes_google(self) -> bool:
        """Whether people can prove who they are by a credential of Google."""
        return bool(self.authenticator.id_tokens or self.authenticator.iap)

    def _is_of_provider(self, principal: str) -> bool:
        """Return whether a principal is one of a provider that the settings have."""
        provider = principal.removeprefix(PROVIDER).partition(":")[0]
        return provider in self.authenticator.owners.providers

    def _grants(self) -> Grants:
        """Return the grants in force."""
        return self.authenticator.policy.access.load()

    def _htpasswd_names(self) -> Collection[str]:
        """Return the names of the users in the htpasswd file."""
        htpasswd = self.authenticator.htpasswd
        if htpasswd is None:
            return ()
        return htpasswd.file.current().hashes

    def _person_of_record(self, record: Person) -> KnownPerson:
        """Return the person of a provider, by the person's record."""
        state: PersonState = "active"
        if record.ended_at is not None:
            state = "ended"
        elif record.provider not in self.authenticator.owners.providers:
            state = "gone"
        elif record.refused_at is not None:
            state = "refused"
        return KnownPerson(
            principal=record.principal,
            id=record.id,
            state=state,
            groups=record.groups,
            confirmed=record.confirmed_at,
            ended=record.ended_at,
            ended_by=record.ended_by,
        )

    def _person_of_principal(self, principal: str) -> KnownPerson:
        """Return a person who has no record, by the person's principal."""
        name = principal
        person_id = ""
        state: PersonState = "unknown"
        if principal.startswith(PASSWORD):
            has_line = principal.removeprefix(PASSWORD) in self._htpasswd_names()
            state = "active" if has_line else "gone"
        elif principal.startswith(PROVIDER):
            name, _, person_id = principal.partition("#")
            # an id came from a record, which does not exist any more
            state = "gone"
            if self._is_of_provider(principal) and not person_id:
                state = "unseen"
        ending = self._grants().ending_of((principal,))
        if ending is None:
            return KnownPerson(principal=name, id=person_id, state=state)
        return KnownPerson(
            principal=name, id=person_id, state="ended", ended=ending.at, ended_by=ending.by
        )


def is_provider_person(principal: str) -> bool:
    """Return whether a principal of a provider is one of a person, and not one of a group."""
    _, _, name = principal.removeprefix(PROVIDER).partition(":")
    return not name.startswith(_GROUP_PREFIX)


def _is_person(principal: str) -> bool:
    """Return whether a principal is one of a person or a service account."""
    if principal.startswith(PROVIDER):
        return is_provider_person(principal)
    return principal.startswith(OWNER_PREFIXES)


def _people_in_grants(grants: Grants) -> Iterator[str]:
    """Yield the principals of people in grants and groups, and of people whose access was ended."""
    yield from grants.ended
    for grant in grants.all:
        yield from filter(_is_person, grant.who)
    for members in grants.groups.values():
        yield from filter(_is_person, members)
