"""
API tokens on behalf of callers: which of them a caller may see, make, rotate and revoke.

An administrator makes tokens for others, and tokens without an owner. Everybody else makes tokens
of their own. A person does either only shortly after a sign-in. No token that has an owner makes a
token. When a token is used, it gives no rights that its owner does not have at that time.

Every method blocks. Those that read the records of all tokens cost, on a bucket, one class A
operation for each thousand tokens and one class B operation for each that this process has not read
yet: there is no other list. Each person of a provider who owns some of them costs another one.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from wheelyard.authentication.api_tokens import (
    DEFAULT_ACTIONS,
    ApiTokens,
    RotatedToken,
    TokenRequest,
    invalid_credential,
)
from wheelyard.authentication.authorization import AuthorizationPolicy
from wheelyard.authentication.token_owners import TokenOwners, parse_owner
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.errors import Forbidden, NotFound, Unauthenticated
from wheelyard.model import access
from wheelyard.model.access import Action, Caller, Pattern, Scope, describe_principal
from wheelyard.model.api_token import (
    NOBODY,
    ApiToken,
    ListedToken,
    TokenOwner,
    TokenRecord,
    is_token_id,
)
from wheelyard.model.decoding import escaped
from wheelyard.model.index_name import EVERY_INDEX
from wheelyard.remedies import Advice, Remedy

SIGN_IN_WINDOW: Final = timedelta(hours=1)
"""How long after a sign-in a caller may make tokens."""
OWN_ACTIONS: Final = (Action.READ, Action.UPLOAD, Action.MANAGE)
"""The highest actions that the tokens of a person are for, from the lowest."""


def is_token_admin(caller: Caller) -> bool:
    """Return whether a caller may see and revoke everybody's tokens."""
    return caller.administers_server


class CallerTokens(Struct, frozen=True):
    """
    Lists, makes, rotates and revokes API tokens for a caller, as far as that caller may.

    Every method that uses the store raises Unavailable if that does not answer.
    """

    tokens: ApiTokens
    policy: AuthorizationPolicy
    owners: TokenOwners

    def visible(self, caller: Caller, *, only_own: bool = False) -> list[ListedToken]:
        """
        Return the tokens that a caller owns or has sent, and all for an administrator.

        With `only_own`, an administrator gets no others either. A caller that can own no token gets
        the API token that it has sent, if it has. Damaged records are left out.
        """
        sees_all = is_token_admin(caller) and not only_own
        own = self.owners.owner_of(caller)
        if sees_all:
            records = self.tokens.all()
        elif own != NOBODY:
            records = [record for record in self.tokens.all() if record.is_owned_by(own)]
        else:
            # a caller with an API token sees that token, and any other caller sees none
            records = list[TokenRecord]()
            sent = self._find(caller.principal.removeprefix("token:"))
            if sent is not None:
                records.append(sent)

        # the days are in objects of their own, which nobody needs to read for no token
        days = dict[str, date]()
        if records:
            days = self.tokens.last_uses(records)
        listed = list[ListedToken]()
        for record in records:
            listed.append(ListedToken(record, self.owners.state(record), days.get(record.id)))
        return listed

    def principals_of(self, caller: Caller) -> frozenset[str]:
        """Return the principals by which a caller uploads: their own, and those of their tokens."""
        principals = {caller.principal}
        own = self.owners.owner_of(caller)
        if own != NOBODY:
            owned = (record for record in self.tokens.all() if record.is_owned_by(own))
            principals.update(f"token:{record.id}" for record in owned)
        return frozenset(principals)

    def owner_is_gone(self, token: ListedToken) -> bool:
        """
        Return whether the owner of a token may not use the index, or no grant names them.

        It is False if the record of the owner is damaged, as nobody can say then. Raises
        Unavailable if the grants, or the record of the owner, cannot be read.
        """
        record = token.record
        if token.state != "active":
            return token.state == "ended"
        with suppress(Unauthenticated), UnreadableIgnored():
            return not self.policy.has_rights(record.owner, self.owners.principals(record))
        return False  # nobody can say

    def indexes_of(self, caller: Caller, names: Iterable[str]) -> tuple[str, ...]:
        """
        Return those of these indexes in which a caller has rights of their own.

        Raises Unavailable if the grants of the store cannot be read.
        """
        indexes = list[str]()
        for name in names:
            if self.policy.own_scopes(caller.principal, caller.principals, name):
                indexes.append(name)
        return tuple(indexes)

    def most_of(self, caller: Caller, asked: Scope) -> Scope | None:
        """
        Return what a caller may give a token of what is asked for, or None if that is nothing.

        It has the highest action of which there is something, and the projects for which the caller
        has that in each of the indexes. Public rights do not count. Raises Unavailable if the
        grants of the store cannot be read.
        """
        for action in reversed(OWN_ACTIONS):
            patterns = frozenset[Pattern]()
            if action in asked.actions:
                patterns = frozenset(asked.projects)
            # what is left after each index is what the caller may do in all of them
            for index in asked.indexes:
                own = self.policy.own_scopes(caller.principal, caller.principals, index)
                common = access.intersection(Scope(action, tuple(patterns), (index,)), own)
                patterns = frozenset[Pattern]()
                for scope in common:
                    patterns |= frozenset(scope.projects)
            # without those that another one matches, too
            widest = list[Pattern]()
            for pattern in sorted(patterns):
                if not access.matches_any(patterns - {pattern}, pattern):
                    widest.append(pattern)
            if widest:
                return Scope(action.with_implied, tuple(widest), asked.indexes)
        return None

    def is_signed_in(self, caller: Caller, signed_in_at: datetime | None) -> bool:
        """
        Return whether a person or service account has signed in lately enough to make tokens.

        `signed_in_at` is when the caller signed in. None is this moment.
        """
        if not caller.can_own_tokens:
            return False
        # a credential in the request itself is a sign-in of this moment
        if signed_in_at is None:
            return True
        return self.tokens.runtime.now() - signed_in_at <= SIGN_IN_WINDOW

    def require_maker(self, caller: Caller, signed_in_at: datetime | None) -> None:
        """
        Raise Forbidden unless a caller may make or rotate some token.

        `signed_in_at` is when the caller signed in. None is this moment.
        """
        if caller.owner:
            raise Forbidden(
                f"This token is of {escaped(describe_principal(caller.owner))}, and a token of "
                "somebody makes no token. Sign in yourself."
            )
        if not (caller.can_own_tokens or is_token_admin(caller)):
            raise Forbidden(
                "Only an administrator, or a person who has signed in, can create or rotate a "
                "token. Send your name and password, or an ID token for this index, or make a "
                "token in the browser.",
                advice=Advice(Remedy.CREATE_TOKEN),
            )
        if caller.can_own_tokens and not self.is_signed_in(caller, signed_in_at):
            fact = "You have signed in more than an hour ago."
            raise Forbidden(f"{fact} Sign in again, or send a new ID token.")

    def request(  # noqa: PLR0913 - all that a token has
        self,
        caller: Caller,
        name: str,
        actions: Iterable[str],
        projects: Iterable[str],
        lifetime: timedelta,
        owner: str | UnsetType | None = UNSET,
        *,
        index: str = "",
    ) -> TokenRequest:
        """
        Return the request of a caller for a new token.

        The `owner` is written as for `TokenOwners.named`, and None is nobody. If it is not given,
        it is the caller, if that can own tokens, or else nobody. Without actions the token may read
        and upload. `index` has names of indexes, with commas between them. Empty is main, or all
        for a token with admin. Raises Forbidden for another owner than the caller, unless that is
        an administrator. Raises Invalid if a value is malformed, if nobody of that name can own a
        token, or if a token with admin is not for every project.
        """
        parsed_actions = access.parse_actions(actions, admin=True) or DEFAULT_ACTIONS
        patterns = {access.parse_pattern(pattern) for pattern in projects}
        return TokenRequest(
            name=name,
            actions=parsed_actions,
            projects=tuple(sorted(patterns)),
            lifetime=lifetime,
            owner=self._parse_owner(caller, owner),
            indexes=access.parse_right_indexes(index, parsed_actions),
        )

    def require_own(self, owner: TokenOwner, request: TokenRequest) -> None:
        """
        Check a token that somebody makes for themselves.

        Raises Forbidden if it may do more than its owner, or is about all indexes and its owner
        does not administer the server. Raises Conflict (code `too_many_tokens`) if they have too
        many.
        """
        if EVERY_INDEX in request.indexes and not self._administers(owner):
            raise Forbidden(
                "A token that is about all indexes is for administrators of the server. Name the "
                "indexes that it is for."
            )
        # without the scopes of anonymous callers, for which nobody needs a token. Only now can
        # the caller be told: when the token is used, its rights are cut down without a word
        for index in request.indexes:
            own = self.policy.own_scopes(owner.principal, owner.names, index)
            if not access.is_subset(request.scope, own):
                where = access.describe_indexes((index,))
                raise Forbidden(
                    f"A token may do no more than its owner in {where}. Ask for fewer projects or "
                    "actions; /api/v1/whoami has your rights."
                )
        self.tokens.check_quota(owner)

    def _administers(self, owner: TokenOwner) -> bool:
        own = self.policy.own_scopes(owner.principal, owner.names, EVERY_INDEX)
        return access.may_everywhere(own, Action.ADMIN)

    def create(
        self, caller: Caller, signed_in_at: datetime | None, request: TokenRequest
    ) -> tuple[ApiToken, TokenRecord]:
        """
        Make a token, and return it with its record.

        `signed_in_at` is when the caller signed in. None is this moment. Raises Forbidden if the
        caller may make no token, or not this one, and Conflict (code `too_many_tokens`) if it has
        too many. Raises Invalid (code `invalid_field`) for a bad name or lifetime.
        """
        self.require_maker(caller, signed_in_at)
        if request.owner.principal == caller.principal:
            self.require_own(request.owner, request)
        else:
            self._require_admin(caller)
        return self.tokens.create(request, by=caller.principal)

    def rotate(
        self, caller: Caller, signed_in_at: datetime | None, text: str, overlap: timedelta
    ) -> RotatedToken:
        """
        Replace a token by a new one.

        An administrator may rotate any token, given by name or id. Its owner, who has signed in,
        may do so by id. `signed_in_at` is when the caller signed in. None is this moment. The old
        token works for `overlap`.

        Raises Forbidden if the caller may make no token, and NotFound if it has no such token.
        Raises Conflict if the owner has too many (code `too_many_tokens`), if several tokens have
        the name, or if the token is not active, is of a CI job, was rotated already, or is changed
        at the same time. Raises Invalid (code `invalid_field`) if no token can have its name or
        rights any more, and Unavailable (code `newer_document`) if it has fields that this version
        does not know.
        """
        self.require_maker(caller, signed_in_at)
        if is_token_admin(caller):
            old = self.tokens.find(text)
        else:
            old = self._require_own(caller, text)
            self.tokens.check_quota(self.owners.owner_of(caller))
        return self.tokens.rotate(old, overlap, caller.principal)

    def revoke(self, caller: Caller, token_id: str) -> TokenRecord:
        """
        Revoke a token of a caller, or for an administrator any token, and return its record.

        Raises Unauthenticated for an anonymous caller, and NotFound for an unknown token, or for
        one of somebody else.
        """
        if caller.is_anonymous:
            raise invalid_credential()
        if not (is_token_admin(caller) and is_token_id(token_id)):
            self._require_own(caller, token_id)
        return self.tokens.revoke(token_id, by=caller.principal)

    def _require_own(self, caller: Caller, token_id: str) -> TokenRecord:
        """Return the record of a token that a caller owns or has sent, or raise NotFound."""
        # one error for both: nobody learns which tokens others have
        record = self._find(token_id)
        own = self.owners.owner_of(caller)
        is_sent = caller.principal == f"token:{token_id}"
        if record is None or not (is_sent or record.is_owned_by(own)):
            raise NotFound(
                "There is no token with this id, or it is not yours. See /api/v1/tokens."
            )
        return record

    def _find(self, token_id: str) -> TokenRecord | None:
        """Return the record of the token with an id, or None for any other text."""
        # other text may have a slash, and must not become a part of a key
        if not is_token_id(token_id):
            return None
        return self.tokens.records.find(token_id)

    def _parse_owner(self, caller: Caller, text: str | UnsetType | None) -> TokenOwner:
        """Return the owner that a caller asks for, or raise Forbidden if it may not."""
        own = self.owners.owner_of(caller)
        # a caller's own principals are those that the credential proves, whatever is sent
        if text is UNSET or (text is not None and own.principal in parse_owner(text)):
            return own
        # first, as the rest tells who has a password
        self._require_admin(caller)
        if text is None:
            return NOBODY
        return self.owners.named(text)

    def _require_admin(self, caller: Caller) -> None:
        if not is_token_admin(caller):
            raise Forbidden(
                "Only an administrator makes tokens for others, or tokens of nobody. Name yourself "
                f"as the owner: {escaped(caller.principal)}."
            )
