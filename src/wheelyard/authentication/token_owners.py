"""
Owners of API tokens: who owns a token, and how the state of the owner limits the token.

The owner of a token is checked at each use of the token. For a person of a provider, that takes the
record of the person, which is cached as the record of the token is. If the person loses a group, or
an administrator ends the person's access, the tokens lose these rights, too.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from wheelyard.authentication.verifiers.verifier import CredentialRejected, known_identity
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.catalog.person_records import PeopleRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import OWNER_ENDED, OWNER_UNCONFIRMED, Invalid, Unauthenticated, quoted
from wheelyard.model.access import GOOGLE, PASSWORD, PROVIDER, Caller
from wheelyard.model.api_token import NOBODY, TokenOwner, TokenRecord
from wheelyard.model.decoding import escaped
from wheelyard.model.grants import parse_principals, with_implied, without_unique_id
from wheelyard.model.person import Person, person_in
from wheelyard.operations.access_control import AccessControl

if TYPE_CHECKING:
    from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier


def parse_owner(text: str) -> list[str]:
    """
    Return the principals in the text of an owner, without a check whether the owner exists.

    Raises Invalid (code `invalid_field`) if a principal is malformed.
    """
    try:
        return parse_principals(text)
    except Invalid as fault:
        raise _invalid_owner(fault.message) from fault


class TokenOwners(Struct, frozen=True, kw_only=True):
    """
    Finds the owners of tokens, and checks whether they may still use the index.

    Threads may share it. Every method may read the htpasswd file. Methods that check an owner raise
    Unavailable if the grants, or the record of a person, cannot be read.
    """

    people: PeopleRecords
    access: AccessControl
    providers: frozenset[str]
    """The names of the providers of the settings."""
    htpasswd: "HtpasswdVerifier | None"
    runtime: Runtime
    confirmed_for: timedelta
    """How long tokens work after their owner was last confirmed by a provider."""

    def owner_of(self, caller: Caller) -> TokenOwner:
        """Return a caller as the owner of tokens, or NOBODY if the caller can own no token."""
        if not caller.can_own_tokens:
            return NOBODY
        return TokenOwner(caller.principal, caller.principals, self._line_digest(caller.principal))

    def principals(self, record: TokenRecord) -> frozenset[str]:
        """
        Return all principals by which grants can name the owner of a token now.

        Raises Unauthenticated if the owner may not use the index any more (code `owner_ended`), or
        was not confirmed for too long, or refused by the provider (code `owner_unconfirmed`). The
        message names the token, and is for the holder of the token.
        """
        subject = f"The token {escaped(record.name)} ({record.id})"
        return self.current_principals(record.token_owner, subject)

    def current_principals(self, owner: TokenOwner, subject: str) -> frozenset[str]:
        """
        Return all principals by which grants can name an owner now.

        Raises Unauthenticated if the owner may not use the index any more (code `owner_ended`), or
        was not confirmed for too long, or refused by the provider (code `owner_unconfirmed`). The
        message begins with `subject`, the token.
        """
        principal = owner.principal
        if self.access.load().ending_of(owner.names | {principal}) is not None:
            raise _owner_ended(subject)
        if principal.startswith(PASSWORD):
            # another user may get the name later: the digest of the line tells them apart
            if owner.line and owner.line == self._line_digest(principal):
                return known_identity(principal).principals
            raise _owner_ended(
                subject, "has no password here any more, or was given another one by the operator"
            )
        if principal.startswith(PROVIDER):
            return self._confirmed_person(owner, subject).principals
        # there are no records of people who sign in with Google, and Google is not asked again
        if principal.startswith(GOOGLE):
            return owner.names
        raise _owner_ended(subject)

    def state(self, record: TokenRecord) -> str:
        """
        Return the state of a token now, as `ListedToken` has it.

        A token whose owner has a damaged record counts as `active`.
        """
        state = record.state(self.runtime.now())
        if state == "active" and record.owner:
            try:
                # with a damaged record, nobody knows whether the owner may use the index
                with UnreadableIgnored():
                    self.principals(record)
            except Unauthenticated as fault:
                if fault.code == OWNER_UNCONFIRMED:
                    return "unconfirmed"
                return "ended"
        return state

    def named(self, text: str) -> TokenOwner:
        """
        Return the owner that a text names, as an administrator writes it.

        Raises Invalid (code `invalid_field`) unless the text names somebody who can own a token
        now.
        """
        principals = parse_owner(text)
        if len(principals) == 1 and principals[0].startswith(PASSWORD):
            return self._password_user(principals[0])
        if len(principals) == 1 and principals[0].startswith(PROVIDER):
            person = self._person_named(principals[0])
            return TokenOwner(person.principal, person.principals)
        # an account of Google, perhaps twice with and without its unique id, and its domain
        accounts = {without_unique_id(name) for name in principals if name.startswith(GOOGLE)}
        google_prefixes = (*GOOGLE, "domain:")
        is_google_alone = all(name.startswith(google_prefixes) for name in principals)
        if len(accounts) != 1 or not is_google_alone:
            raise _invalid_owner(
                f"{quoted(text)} owns no tokens. Write htpasswd:NAME, oidc:PROVIDER:NAME, "
                "user:EMAIL or serviceAccount:EMAIL, and after the last two perhaps domain:DOMAIN "
                "behind a comma."
            )
        account = accounts.pop()
        self._require_not_ended(account)
        return TokenOwner(account, with_implied(principals))

    def _require_not_ended(self, owner: str) -> None:
        """Raise Invalid if an administrator has ended the access of an owner."""
        if self.access.load().ending_of((owner,)) is not None:
            raise _invalid_owner(
                f"The access of {quoted(owner)} was ended. Admit them again first."
            )

    def _line_digest(self, principal: str) -> str:
        """Return the digest of a user's line in the htpasswd file, or an empty text without it."""
        if self.htpasswd is None or not principal.startswith(PASSWORD):
            return ""
        return self.htpasswd.line_of(principal.removeprefix(PASSWORD))

    def _confirmed_person(self, owner: TokenOwner, subject: str) -> Person:
        """
        Return the person of a provider who owns a token. `subject` names the token in messages.

        Raises Unauthenticated if the person may not use the index any more (code `owner_ended`), or
        was not confirmed for too long, or refused by the provider (code `owner_unconfirmed`).
        """
        # by provider and id, as another person may have the name now
        person_id = person_in(owner.names)
        if person_id is None or person_id.provider not in self.providers:
            raise _owner_ended(subject)
        person = self.people.get(person_id.provider, person_id.id).value
        if person is None or person.ended_at is not None:
            raise _owner_ended(subject)
        is_old = self.runtime.now() - person.confirmed_at > self.confirmed_for
        if is_old or person.refused_at is not None:
            why = f"the last time was on {person.confirmed_at:%Y-%m-%d}"
            if person.refused_at is not None:
                day = f"{person.refused_at:%Y-%m-%d}"
                why = f"{person.provider} refused to confirm the account on {day}"
            raise Unauthenticated(
                f"{subject} waits for its owner {escaped(person.name)} to sign in again: "
                f"{why}. Sign in on the web pages of this index, and the token works again.",
                code=OWNER_UNCONFIRMED,
            ) from CredentialRejected(OWNER_UNCONFIRMED)
        return person

    def _password_user(self, principal: str) -> TokenOwner:
        """Return a user of the htpasswd file as an owner, or raise Invalid if there is none."""
        self._require_not_ended(principal)
        line = self._line_digest(principal)
        if not line:
            raise _invalid_owner(
                f"{quoted(principal)} is no name of the htpasswd file. Add it there first, or "
                "correct it."
            )
        return TokenOwner(principal, known_identity(principal).principals, line)

    def _person_named(self, principal: str) -> Person:
        """
        Return the person whom a principal names, with or without the person's id.

        Raises Invalid unless the principal names exactly one person who may sign in.
        """
        matching = list[Person]()
        for person in self.people.all():
            may_sign_in = person.ended_at is None and person.provider in self.providers
            names = {person.principal, f"{person.principal}#{person.id}"}
            if may_sign_in and principal in names:
                matching.append(person)
        if not matching:
            raise _invalid_owner(
                f"{quoted(principal)} is nobody who has signed in here and may do so again. People "
                "make tokens for themselves once they have signed in."
            )
        if len(matching) > 1:
            principals = ", ".join(f"{person.principal}#{person.id}" for person in matching)
            raise _invalid_owner(f"Several people have this name. Choose one: {principals}.")
        return matching[0]


def _owner_ended(subject: str, why: str = "may not use this index any more") -> Unauthenticated:
    """Return the error for a token whose owner may not use the index any more."""
    fault = Unauthenticated(
        f"{subject} has ended, because its owner {why}. Sign in and make another one, or "
        "ask the operator of this index.",
        code=OWNER_ENDED,
    )
    fault.__cause__ = CredentialRejected(OWNER_ENDED)
    return fault


def _invalid_owner(message: str) -> Invalid:
    """Return the error for a text that names no owner."""
    return Invalid(message, code="invalid_field")
