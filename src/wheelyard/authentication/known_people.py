"""
Everybody whom an index knows: people of providers, of the htpasswd file, of grants and of tokens.

There is no list of them. Those of a provider have a record each. The others are names in the
htpasswd file, in grants and groups, and of owners of tokens. To list them costs, on a bucket, a
request for each thousand people and each thousand tokens, and one for each record that this process
has not read since it was changed.
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

- active: their provider has confirmed them, or they have a line of the htpasswd file
- refused: their provider has refused to confirm them, and they have not signed in since
- ended: an administrator has ended their access
- gone: the file has no line of theirs, or the settings do not have their provider any more
- unseen: a grant names them, and nobody of this name has signed in with the provider
- unknown: Google says who they are, and nothing is kept of them
"""
_GROUP: Final = "group:"
_OF_GOOGLE: Final = frozenset({"user", "serviceAccount", "domain"})
"""The beginnings of principals that Google's credentials tell of."""


class KnownPerson(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person, or a service account, whom an index knows."""

    principal: str
    """By which journals name them, without an id."""
    id: str = ""
    """What tells them apart from others of their provider, if they have signed in."""
    state: PersonState
    groups: tuple[str, ...] = ()
    """Those of their provider, when it last confirmed them."""
    confirmed: datetime | None = None
    """When their provider last confirmed them."""
    ended: datetime | None = None
    ended_by: str = ""

    @property
    def who(self) -> str:
        """The principal that nobody else has, if there is one."""
        return f"{self.principal}#{self.id}" if self.id else self.principal

    @property
    def provider(self) -> str:
        """The name of their provider of `[[sign_in]]`, or an empty text."""
        kind, _, rest = self.principal.partition(":")
        if f"{kind}:" != PROVIDER:
            return ""
        return rest.partition(":")[0]

    @property
    def has_password(self) -> bool:
        """Whether it is a user of the htpasswd file, or was one."""
        return self.principal.startswith(PASSWORD)

    def owns(self, record: TokenRecord) -> bool:
        """Return whether the person owns a token, and nobody else who had the name."""
        owner = person_in(record.owner_names)
        is_same = owner is None or not self.id or owner.id == self.id
        return record.owner == self.principal and is_same


class KnownPeople(Struct, frozen=True, kw_only=True):
    """
    Finds people.

    Each method raises Unavailable if the store does not answer.
    """

    authenticator: Authenticator

    def all(self) -> list[KnownPerson]:
        """Return everybody, sorted by principal."""
        recorded = list(self.recorded())
        people = {person.who: person for person in recorded}
        names = {person.principal for person in recorded}
        ids = {(person.provider, person.id) for person in recorded}
        principals = {f"{PASSWORD}{name}" for name in self._passwords()}
        principals.update(_named_in(self._grants()))
        for principal in principals:
            # a grant names somebody with or without the id, and in a list they are one person
            if principal not in people and principal not in names:
                people[principal] = self._of_principal(principal)
        # owners whom nothing else names: people of Google, and those who have left
        for record in self.authenticator.tokens.records.all():
            person = person_in(record.owner_names)
            is_recorded = person is not None and (person.provider, person.id) in ids
            if record.owner and not is_recorded and record.owner not in people:
                people[record.owner] = self._of_principal(record.owner)
        return sorted(people.values(), key=lambda person: (person.principal, person.id))

    def recorded(self) -> Iterator[KnownPerson]:
        """Yield those who have signed in with a provider."""
        return map(self._of_record, self.authenticator.owners.people.all())

    def find(self, text: str) -> KnownPerson:
        """
        Return the person whom a principal names, who may be nobody that appears anywhere.

        Of several people with the name, it is the one who may sign in, or else any. Raises Invalid
        (code `invalid_field`) if the text is no principal of a person or a service account.
        """
        try:
            principal = parse_principal(text)
        except Invalid as fault:
            raise Invalid(fault.message, code="invalid_field") from fault
        if not _is_person(principal):
            raise Invalid(f"{quoted(text)} is no person.", code="invalid_field")
        if not principal.startswith(PROVIDER):
            return self._of_principal(principal)
        return self._among(self.recorded(), principal)

    def _among(self, recorded: Iterable[KnownPerson], principal: str) -> KnownPerson:
        """Return the one of these people whom a principal names, or a person without a record."""
        matching = [person for person in recorded if principal in {person.principal, person.who}]
        if not matching:
            return self._of_principal(principal)
        # who may sign in comes first, as the name is theirs now
        matching.sort(key=lambda person: person.state != "active")
        return matching[0]

    def principals_of(
        self, person: KnownPerson, owned: Iterable[TokenRecord] = ()
    ) -> frozenset[str]:
        """
        Return all principals by which grants can name a person, as far as they are known.

        `owned` are tokens of theirs: those of a Google account tell of its Workspace domain.
        """
        names = {person.principal, person.who}
        names |= {group_principal(person.provider, group) for group in person.groups}
        for record in owned:
            if not person.provider:
                names |= set(record.owner_names)
        return with_implied(names)

    def absent(self, principals: Iterable[str], undo: str) -> Iterator[Caution]:
        """
        Yield a warning for each principal by which nobody has a right now, as far as is known.

        Nobody has the principal, or the access of whoever has it was ended. The warning says what
        takes the right back: `undo`.

        Nothing is kept of who signs in with Google, so those names count as somebody's while that
        is possible, and so do all names of a provider that the settings do not have.
        """
        names = sorted(principals)
        recorded = list[KnownPerson]()
        # a request for each thousand people: not for a name of the htpasswd file
        if any(name.startswith(PROVIDER) for name in names):
            recorded += self.recorded()
        existing = self._existing_principals(names, recorded)
        for name in names:
            person = self._among(recorded, name) if _is_person(name) else None
            why = "" if name in existing else self._why_absent(name)
            if person is not None and person.state == "ended":
                yield Caution(
                    f"nobody gets anything by {name} now: {person.ended_by} has ended that access. "
                    f"If it is to stay so, {undo}.",
                    Advice(Remedy.ADMIT_PERSON, person.who),
                )
            elif why:
                yield Caution(f"nobody has {name} now: {why}; if the name is wrong, {undo}")

    def _why_absent(self, principal: str) -> str:
        """Return why nobody has a principal that is not known, or an empty text if one may."""
        kind = principal.partition(":")[0]
        if kind in _OF_GOOGLE and not self._takes_google:
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
        """Return the principals that somebody has, of those kinds that are among `names`."""
        kinds = {name.partition(":")[0] for name in names}
        principals = {f"{PASSWORD}{name}" for name in self._passwords()}
        static = self.authenticator.static_tokens.all().values()
        principals |= {token.identity.principal for token in static}
        for person in recorded:
            principals |= self.principals_of(person)
        # Nobody can sign in with Google now. The tokens of people who could once still have names.
        if not kinds.isdisjoint(_OF_GOOGLE) and not self._takes_google:
            for record in self.authenticator.tokens.records.all():
                principals |= with_implied(record.owner_names)
        return principals

    @property
    def _takes_google(self) -> bool:
        """Whether a credential of Google tells who somebody is."""
        return bool(self.authenticator.id_tokens or self.authenticator.iap)

    def _is_of_provider(self, principal: str) -> bool:
        """Return whether it names somebody of a provider of the settings."""
        provider = principal.removeprefix(PROVIDER).partition(":")[0]
        return provider in self.authenticator.owners.providers

    def _grants(self) -> Grants:
        return self.authenticator.policy.access.load()

    def _passwords(self) -> Collection[str]:
        """Return the names of the htpasswd file."""
        htpasswd = self.authenticator.htpasswd
        if htpasswd is None:
            return ()
        return htpasswd.file.current().hashes

    def _of_record(self, record: Person) -> KnownPerson:
        """Return the person whose record this is."""
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

    def _of_principal(self, principal: str) -> KnownPerson:
        """Return the person of a principal, of whom there is no record."""
        name = principal
        person_id = ""
        state: PersonState = "unknown"
        if principal.startswith(PASSWORD):
            has_line = principal.removeprefix(PASSWORD) in self._passwords()
            state = "active" if has_line else "gone"
        elif principal.startswith(PROVIDER):
            name, _, person_id = principal.partition("#")
            # an id comes from a record, which is not there any more
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
    """Return whether a principal is that of a person of a provider, and not of a group."""
    if not principal.startswith(PROVIDER):
        return False
    _, _, name = principal.removeprefix(PROVIDER).partition(":")
    return not name.startswith(_GROUP)


def _is_person(principal: str) -> bool:
    """Return whether a principal is that of a person or a service account."""
    if principal.startswith(PROVIDER):
        return is_provider_person(principal)
    return principal.startswith(OWNER_PREFIXES)


def _named_in(grants: Grants) -> Iterator[str]:
    """Yield the people in grants and groups, and those whose access was ended."""
    yield from grants.ended
    for grant in grants.all:
        yield from filter(_is_person, grant.who)
    for members in grants.groups.values():
        yield from filter(_is_person, members)
