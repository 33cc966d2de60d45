"""Authorization: the scopes of an identity, and which caller may read which project."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.errors import PERSON_ENDED, Forbidden, NotFound, Unauthenticated, WheelyardError
from wheelyard.model.access import (
    ANONYMOUS,
    Action,
    Caller,
    Identity,
    Pattern,
    Scope,
    describe_principal,
    holding,
    matches_any,
    may_everywhere,
)
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import Grant, Grants
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.operations.access_control import AccessControl
from wheelyard.remedies import Advice, Remedy

CacheScope = Literal["public", "revalidated", "private"]
"""
Which caches may keep what an index shows.

- public: all, for as long as they are told
- revalidated: all, but shared ones ask the server before each use
- private: that of the caller alone
"""


class AuthorizationPolicy(Struct, frozen=True):
    """The authorization rules of an index: grants, public scopes, and the scope of passwords."""

    access: AccessControl
    open: tuple[Scope, ...]
    """The scopes of every caller that hold in the index whatever grants there are."""
    htpasswd_scope: Scope | None
    """The scope of every user of the htpasswd file, or None if they need grants."""
    index: str
    """The name of the index that it is for."""

    @property
    def allows_anonymous_uploads(self) -> bool:
        """Whether a caller without a credential may upload to some project."""
        # no grant allows any: `anonymous` may be granted reading alone
        return any(scope.actions & Action.UPLOAD for scope in self.open)

    @property
    def depends_on_grants(self) -> bool:
        """Whether a grant can let callers without a credential do more than without it."""
        return not (self.access.is_private or may_everywhere(self.open, Action.READ))

    def public(self) -> tuple[Scope, ...]:
        """
        Return the scopes of every caller, with or without a credential, in the index now.

        Raises Unavailable if they depend on the grants, and these cannot be read.
        """
        if not self.depends_on_grants:
            return self.open
        return self.open + self.own_scopes(ANONYMOUS, frozenset({ANONYMOUS}))

    def authorize(self, identity: Identity) -> Caller:
        """
        Return the caller for an identity: with its own scopes, those of grants, and public ones.

        Raises Unauthenticated (code `person_ended`) if the access of the person was ended, and
        Unavailable if the grants, or the list of indexes, cannot be read.
        """
        grants = self.access.load()
        if grants.ending_of(identity.principals) is not None:
            raise Unauthenticated(
                "Your access to this index has been ended by an administrator. Ask the operator "
                "of this index, if you need it again.",
                code=PERSON_ENDED,
            ) from CredentialRejected(PERSON_ENDED)
        # scopes only add rights, so their order does not matter
        granted = self._own_scopes(grants, identity.principal, identity.principals)
        scopes = self.holding(identity.scopes) + holding(granted, self.index) + self.open
        return Caller(identity.principal, scopes, identity.principals, index=self.index)

    def own_scopes(
        self, principal: str, principals: frozenset[str], index: str = ""
    ) -> tuple[Scope, ...]:
        """
        Return the scopes of a principal in an index now, but for public ones.

        The principal has all of `principals`. The scopes are those of grants, and `htpasswd_scope`
        for a user of the htpasswd file. Without `index` they are those in the index of this policy.
        Raises Unavailable if the grants, or the list of indexes, cannot be read.
        """
        granted = self._own_scopes(self.access.load(), principal, principals)
        return holding(granted, index or self.index)

    def has_rights(self, principal: str, principals: frozenset[str]) -> bool:
        """
        Return whether a principal has rights in some index that not everybody has there.

        Raises Unavailable if the grants, or the list of indexes, cannot be read.
        """
        return bool(self._own_scopes(self.access.load(), principal, principals))

    def holding(self, scopes: Iterable[Scope], *, names_index: bool = True) -> tuple[Scope, ...]:
        """
        Return those of the scopes of a credential that hold in the index.

        `names_index` is whether the credential says which indexes they are about. Raises
        Unavailable if it depends on the list of indexes, and that cannot be read.
        """
        held = holding(scopes, self.index)
        names_main = names_index and any(MAIN in scope.indexes for scope in held)
        # an earlier version let another index be called main, so which one is meant nobody knows
        if self.index == MAIN and names_main and self.access.is_main_ambiguous():
            return holding(held, EVERY_INDEX)
        return held

    def _own_scopes(
        self, grants: Grants, principal: str, principals: frozenset[str]
    ) -> tuple[Scope, ...]:
        """Return the scopes of a principal by grants and as a password user, in any index."""
        scopes = [grant.scope for grant in self._granted(grants, principals)]
        if self.htpasswd_scope is not None and principal.startswith("htpasswd:"):
            scopes.append(self.htpasswd_scope)
        return tuple(scopes)

    def _granted(self, grants: Grants, principals: frozenset[str]) -> Iterable[Grant]:
        """Return the grants of somebody, but for those that an earlier version may have meant."""
        granted = grants.of(principals)
        if not (granted and self.access.is_main_ambiguous()):
            return granted
        unambiguous = list[Grant]()
        for grant in granted:
            may_mean_another = grant.names_index and MAIN in grant.scope.indexes
            if not may_mean_another:
                unambiguous.append(grant)
        return unambiguous


class ReadPolicy(Struct, frozen=True):
    """Decides who may read a project, by its name alone: no error tells whether it exists."""

    authorization: AuthorizationPolicy
    private_patterns: tuple[Pattern, ...]
    has_upstream: bool = False
    """Whether a name that is not private may be that of a public package."""
    visitor: Caller | None = None
    """Who asks for each page of a static site. None for a server."""

    @property
    def depends_on_grants(self) -> bool:
        """Whether a grant can change what anonymous callers may read."""
        return self.visitor is None and self.authorization.depends_on_grants

    def anonymous(self) -> Caller:
        """
        Return the caller without a credential, with what it may do now.

        Raises Unavailable if that depends on the grants, and these cannot be read.
        """
        return self.visitor or Caller(ANONYMOUS, self.authorization.public())

    def is_public(self, name: NormalizedName | None = None) -> bool:
        """
        Return whether anonymous callers may read a project, or for None every project.

        Raises Unavailable if that depends on the grants, and these cannot be read.
        """
        return _may_read(self.anonymous(), name)

    def cache_scope(self, name: NormalizedName | None = None) -> CacheScope:
        """
        Return which caches may keep the pages and files of a project, or for None of all projects.

        What only a grant opens is closed with its end, also where a shared cache has it. Raises
        Unavailable if it depends on the grants, and these cannot be read.
        """
        if not self.depends_on_grants:
            return "public" if self.is_public(name) else "private"
        always_open = Caller(ANONYMOUS, self.authorization.open)
        if _may_read(always_open, name):
            return "public"
        return "revalidated" if self.is_public(name) else "private"

    @staticmethod
    def require_any_read(caller: Caller) -> None:
        """Raise Unauthenticated if a caller is anonymous, and anonymous ones may read nothing."""
        if caller.is_anonymous and not caller.may_anywhere(Action.READ):
            raise invalid_credential()

    def require_project_read(self, caller: Caller, name: NormalizedName) -> None:
        """
        Raise an error unless `caller` may read `name`.

        Raises Unauthenticated if the caller is anonymous, Forbidden if the name matches
        `private_names`, and NotFound otherwise. None of them depends on what exists.
        """
        if caller.may(Action.READ, name):
            return
        # before the rest: whoever has not said who they are learns nothing of names
        if caller.is_anonymous:
            raise invalid_credential()
        if matches_any(self.private_patterns, name):
            message = f"{caller.display_name} may not read {name!r}."
            raise Forbidden(f"{message} Use a credential that may.")
        raise project_not_found(name)

    def require_lookup(self, caller: Caller, name: NormalizedName) -> None:
        """
        Raise an error unless `caller` may read `name`, perhaps as that of a public package.

        Raises Unauthenticated if the caller is anonymous, Forbidden if the name matches
        `private_names`, and NotFound otherwise. None of them depends on what exists.

        Who has a credential and may read or approve anything may read all public packages: no grant
        names them. Whoever finds that the name is private, and that the caller may not read it, has
        to answer as for a name that no upstream index has.
        """
        may_be_public = self.has_upstream and not matches_any(self.private_patterns, name)
        if not (caller.may_read_public_packages and may_be_public):
            self.require_project_read(caller, name)


def _may_read(caller: Caller, name: NormalizedName | None) -> bool:
    """Return whether a caller may read a project, or for None every project."""
    if name is None:
        return caller.may_everywhere(Action.READ)
    return caller.may(Action.READ, name)


def require_admin(caller: Caller, what: str) -> None:
    """
    Raise Unauthenticated or Forbidden unless the caller is an administrator.

    Unauthenticated is for an anonymous one. `what` says what the caller wanted to do.
    """
    _require_admin_in(caller, what, caller.index)


def _require_admin_in(caller: Caller, what: str, index: str) -> None:
    """
    Raise Unauthenticated or Forbidden unless the caller is an administrator.

    The advice names `index`, for which a token helps.
    """
    if caller.is_anonymous:
        raise invalid_credential()
    if not caller.may_everywhere(Action.ADMIN):
        fact = f"{caller.display_name} may not {what}."
        raise Forbidden(
            f"{fact} It is for administrators of this index. Use the credential of one, who has a "
            "grant of admin, or a token with that right.",
            advice=Advice(Remedy.CREATE_TOKEN, index=index, right=Action.ADMIN.word),
        )


def require_server_admin(caller: Caller, what: str) -> None:
    """
    Raise Unauthenticated or Forbidden unless the caller is an administrator of all indexes.

    Unauthenticated is for an anonymous one. `what` says what the caller wanted to do.
    """
    _require_admin_in(caller, what, EVERY_INDEX)
    if not caller.administers_server:
        fact = f"{caller.display_name} may not {what}."
        raise Forbidden(
            f"{fact} It is for administrators of the server: your right to administer is about "
            "some indexes. Use the credential of one whose right is about all."
        )


def require_own_admin(caller: Caller, what: str) -> None:
    """
    Raise an error unless the caller administers all indexes, and is no token that has an owner.

    Such a token changes no rights: who steals it could else keep them after it is revoked. Raises
    Unauthenticated if the caller is anonymous, and Forbidden otherwise. `what` says what the caller
    wanted to do.
    """
    require_server_admin(caller, what)
    if caller.owner:
        raise Forbidden(
            f"This token is of {escaped(describe_principal(caller.owner))}, and may not {what}. "
            "Sign in yourself, or use a token that has no owner."
        )


def require_approver(caller: Caller) -> None:
    """
    Raise Unauthenticated or Forbidden unless the caller may approve some public packages.

    Unauthenticated is for an anonymous one.
    """
    if caller.is_anonymous:
        raise invalid_credential()
    if not caller.may_anywhere(Action.APPROVE):
        fact = f"{caller.display_name} may not decide about public packages."
        raise Forbidden(
            f"{fact} It is for administrators, and for whoever has a grant of approve. Ask the "
            "operator of this index for one."
        )


def require_all_read(caller: Caller) -> None:
    """
    Raise Unauthenticated or Forbidden unless the caller may read all projects, also new ones.

    Unauthenticated is for an anonymous one.
    """
    if caller.may_everywhere(Action.READ):
        return
    if caller.is_anonymous:
        raise invalid_credential()
    fact = f"{caller.display_name} may not read all projects."
    raise Forbidden(f"{fact} Use a credential that may.")


def parse_project_name(segment: str) -> NormalizedName:
    """Return a segment of a path as a normalized project name, or raise NotFound."""
    try:
        return parse_name(segment)
    except WheelyardError as error:
        raise NotFound(error.message) from error


def project_not_found(name: str) -> NotFound:
    """Return the NotFound for a project that does not exist or is hidden from the caller."""
    return NotFound(
        f"There is no project {name[:60]!a} here, or your credential may not read it. "
        "Check the spelling and the credential."
    )
