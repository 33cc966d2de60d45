"""
API tokens on behalf of callers: which tokens a caller may see, make, rotate and revoke.

An administrator makes tokens for others, and tokens without an owner. Everybody else makes tokens
of their own. A person makes tokens only shortly after a sign-in. A token that has an owner makes no
token. When a token is used, it gives no rights that its owner does not have at that time.

Every method blocks. There is no list of tokens but their records. On a bucket, a method that reads
the records of all tokens costs one class A operation for each thousand tokens, one class B
operation for each record that this process has not read yet, and one for each person of a provider
who owns tokens.
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
"""The actions that people give to their tokens, each of which includes those before it."""


def is_token_admin(caller: Caller) -> bool:
    """Return whether a caller may see and revoke everybody's tokens."""
    return caller.administers_server


class CallerTokens(Struct, frozen=True):
    """
    Lists, makes, rotates and revokes API tokens for a caller, as far as that caller may.

    Every method that uses the store raises Unavailable if the store does not answer.
    """

    tokens: ApiTokens
    policy: AuthorizationPolicy
    owners: TokenOwners

    def visible(self, caller: Caller, *, only_own: bool = False) -> list[ListedToken]:
        """
        Return the tokens that a caller may see: an administrator sees all tokens.

        With `only_own`, an administrator gets only their own tokens, as everybody else does. A
        caller that can own no token gets the API token that it has sent, if it has sent one.
        Damaged records are left out.
        """
        sees_all = is_token_admin(caller) and not only_own
        owner = self.owners.owner_of(caller)
        if sees_all:
            records = self.tokens.all()
        elif owner != NOBODY:
            records = [record for record in self.tokens.all() if record.is_owned_by(owner)]
        else:
            # a caller with an API token sees that token, and any other caller sees none
            records = list[TokenRecord]()
            sent_token = self._find_record(caller.principal.removeprefix("token:"))
            if sent_token is not None:
                records.append(sent_token)

        # last uses are in objects of their own, which are not read if there is no token
        last_uses = dict[str, date]()
        if records:
            last_uses = self.tokens.last_uses(records)
        listed_tokens = list[ListedToken]()
        for record in records:
            state = self.owners.state(record)
            listed_tokens.append(ListedToken(record, state, last_uses.get(record.id)))
        return listed_tokens

    def principals_of(self, caller: Caller) -> frozenset[str]:
        """Return the principals by which a caller uploads: its own, and those of its tokens."""
        principals = {caller.principal}
        owner = self.owners.owner_of(caller)
        if owner != NOBODY:
            for record in self.tokens.all():
                if record.is_owned_by(owner):
                    principals.add(f"token:{record.id}")
        return frozenset(principals)

    def owner_is_gone(self, token: ListedToken) -> bool:
        """
        Return whether the owner of a token may not use the index, or has no rights by a grant.

        Return False if the owner waits for a sign-in, or if the record of the owner is damaged.
        Raises Unavailable if the grants, or the record of the owner, cannot be read.
        """
        record = token.record
        if token.state != "active":
            return token.state == "ended"
        with suppress(Unauthenticated), UnreadableIgnored():
            owner_principals = self.owners.principals(record)
            return not self.policy.has_rights(record.owner, owner_principals)
        return False

    def indexes_of(self, caller: Caller, names: Iterable[str]) -> tuple[str, ...]:
        """
        Return the indexes among `names` in which a caller has rights that not everybody has.

        Raises Unavailable if the grants of the store cannot be read.
        """
        indexes = list[str]()
        for name in names:
            if self.policy.own_scopes(caller.principal, caller.principals, name):
                indexes.append(name)
        return tuple(indexes)

    def most_of(self, caller: Caller, requested: Scope) -> Scope | None:
        """
        Return the widest part of a requested scope that a caller may give to a token.

        The result has the highest action that the caller may do to one of the projects in each of
        the indexes, and all projects for which that is so. Public rights do not count. None if
        there is no such action. Raises Unavailable if the grants of the store cannot be read.
        """
        for action in reversed(OWN_ACTIONS):
            patterns = self._own_patterns(caller, action, requested)
            # a pattern that another pattern matches says nothing more
            widest_patterns = list[Pattern]()
            for pattern in sorted(patterns):
                if not access.matches_any(patterns - {pattern}, pattern):
                    widest_patterns.append(pattern)
            if widest_patterns:
                return Scope(action.with_implied, tuple(widest_patterns), requested.indexes)
        return None

    def _own_patterns(self, caller: Caller, action: Action, requested: Scope) -> frozenset[Pattern]:
        """Return the requested projects to which a caller may do an action in all indexes."""
        patterns = frozenset[Pattern]()
        if action in requested.actions:
            patterns = frozenset(requested.projects)
        for index in requested.indexes:
            own_scopes = self.policy.own_scopes(caller.principal, caller.principals, index)
            common_scopes = access.intersection(
                Scope(action, tuple(patterns), (index,)), own_scopes
            )
            patterns = frozenset[Pattern]()
            for scope in common_scopes:
                patterns |= frozenset(scope.projects)
        return patterns

    def is_signed_in(self, caller: Caller, signed_in_at: datetime | None) -> bool:
        """
        Return whether a person or service account has signed in lately enough to make tokens.

        `signed_in_at` is when the caller signed in, or None for a sign-in by this request.
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

        `signed_in_at` is when the caller signed in, or None for a sign-in by this request.
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

        `owner` is a text as `TokenOwners.named` reads it, or None for no owner. UNSET stands for
        the caller, or for no owner if the caller can own no tokens. Without actions, the token may
        read and upload. `index` has names of indexes with commas between them; empty stands for
        main, or for all indexes if the token has admin.

        Raises Forbidden for another owner than the caller, unless the caller is an administrator.
        Raises Invalid if a value is malformed, if the owner can own no token, or if a token with
        admin is not for every project.
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
        Check the request for a token that somebody makes for themselves.

        Raises Forbidden if the token could do more than its owner, or is about all indexes and its
        owner does not administer the server. Raises Conflict (code `too_many_tokens`) if the owner
        has too many tokens.
        """
        if EVERY_INDEX in request.indexes and not self._administers(owner):
            raise Forbidden(
                "A token that is about all indexes is for administrators of the server. Name the "
                "indexes that it is for."
            )
        # Scopes of everybody do not count, as nobody needs a token for them. An error is possible
        # only now: when the token is used, its rights are limited without any message.
        for index in request.indexes:
            own_scopes = self.policy.own_scopes(owner.principal, owner.names, index)
            if not access.is_subset(request.scope, own_scopes):
                where = access.describe_indexes((index,))
                raise Forbidden(
                    f"A token may do no more than its owner in {where}. Ask for fewer projects or "
                    "actions; /api/v1/whoami has your rights."
                )
        self.tokens.check_quota(owner)

    def _administers(self, owner: TokenOwner) -> bool:
        """Return whether an owner of tokens administers all indexes."""
        own_scopes = self.policy.own_scopes(owner.principal, owner.names, EVERY_INDEX)
        return access.may_everywhere(own_scopes, Action.ADMIN)

    def create(
        self, caller: Caller, signed_in_at: datetime | None, request: TokenRequest
    ) -> tuple[ApiToken, TokenRecord]:
        """
        Make a token, and return it with its record.

        `signed_in_at` is when the caller signed in, or None for a sign-in by this request. Raises
        Forbidden if the caller may not make tokens, or not a token with these rights, and Conflict
        (code `too_many_tokens`) if the owner has too many tokens. Raises Invalid (code
        `invalid_field`) for a bad name or lifetime.
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

        `text` is the id of the token, or for an administrator its name. An administrator may rotate
        any token, and other callers their own. `signed_in_at` is when the caller signed in, or None
        for a sign-in by this request. The old token works for `overlap`.

        Raises Forbidden if the caller may make no token, and NotFound if the caller has no such
        token. Raises Conflict if the owner has too many tokens (code `too_many_tokens`), if several
        tokens have the name, or if the token is not active, is of a CI job, was rotated already, or
        is changed at the same time. Raises Invalid (code `invalid_field`) if a new token cannot
        have the name or the rights of the old token, and Unavailable (code `newer_document`) if the
        token has fields that this version does not know.
        """
        self.require_maker(caller, signed_in_at)
        if is_token_admin(caller):
            old = self.tokens.find(text)
        else:
            old = self._require_own_token(caller, text)
            self.tokens.check_quota(self.owners.owner_of(caller))
        return self.tokens.rotate(old, overlap, caller.principal)

    def revoke(self, caller: Caller, token_id: str) -> TokenRecord:
        """
        Revoke a token of a caller, or for an administrator any token, and return its record.

        Raises Unauthenticated for an anonymous caller, and NotFound for an unknown token or for a
        token of somebody else.
        """
        if caller.is_anonymous:
            raise invalid_credential()
        if not (is_token_admin(caller) and is_token_id(token_id)):
            self._require_own_token(caller, token_id)
        return self.tokens.revoke(token_id, by=caller.principal)

    def _require_own_token(self, caller: Caller, token_id: str) -> TokenRecord:
        """Return the record of a token that a caller owns or has sent, or raise NotFound."""
        record = self._find_record(token_id)
        owner = self.owners.owner_of(caller)
        is_sent_token = caller.principal == f"token:{token_id}"
        # one error for an unknown token and another's token: nobody learns which tokens others have
        if record is None or not (is_sent_token or record.is_owned_by(owner)):
            raise NotFound(
                "There is no token with this id, or it is not yours. See /api/v1/tokens."
            )
        return record

    def _find_record(self, token_id: str) -> TokenRecord | None:
        """Return the record of the token with this id, or None for an unknown id or other text."""
        # another text may have a slash, and must not become a part of a key
        if not is_token_id(token_id):
            return None
        return self.tokens.records.find(token_id)

    def _parse_owner(self, caller: Caller, text: str | UnsetType | None) -> TokenOwner:
        """Return the owner that a caller asks for, as in `request`, or raise Forbidden."""
        caller_as_owner = self.owners.owner_of(caller)
        if text is UNSET:
            return caller_as_owner
        # the owner gets the principals that the credential proves, whatever else the text has
        if text is not None and caller_as_owner.principal in parse_owner(text):
            return caller_as_owner
        # checked before the owner is looked up, as the lookup tells who has a password
        self._require_admin(caller)
        if text is None:
            return NOBODY
        return self.owners.named(text)

    def _require_admin(self, caller: Caller) -> None:
        """Raise Forbidden unless a caller may make tokens for others."""
        if not is_token_admin(caller):
            raise Forbidden(
                "Only an administrator makes tokens for others, or tokens of nobody. Name yourself "
                f"as the owner: {escaped(caller.principal)}."
            )
