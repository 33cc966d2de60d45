"""Authorization: the scopes of an identity, and the checks that raise unless a caller has them."""

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
Which caches may keep a response of an index.

- public: all caches, for as long as the response says
- revalidated: all caches, but a shared cache asks the server before each use
- private: the cache of the caller alone
"""


class AuthorizationPolicy(Struct, frozen=True):
    """The authorization rules of an index: grants, public scopes, and the scope of passwords."""

    access: AccessControl
    open: tuple[Scope, ...]
    """The scopes that every caller has in the index without any grant."""
    htpasswd_scope: Scope | None
    """The scope of every user of the htpasswd file, or None if these users need grants."""
    index: str
    """The name of the index that the policy is for."""

    @property
    def allows_anonymous_uploads(self) -> bool:
        """Whether a caller without a credential may upload to some project."""
        # a grant to `anonymous` is for reading alone, and so never allows uploads
        return any(scope.actions & Action.UPLOAD for scope in self.open)

    @property
    def depends_on_grants(self) -> bool:
        """Whether a grant can give rights to callers without a credential."""
        return not (self.access.is_private or may_everywhere(self.open, Action.READ))

    def public(self) -> tuple[Scope, ...]:
        """
        Return the scopes that every caller has in the index now, with or without a credential.

        Raises Unavailable if the scopes depend on the grants, and these cannot be read.
        """
        if not self.depends_on_grants:
            return self.open
        return self.open + self.own_scopes(ANONYMOUS, frozenset({ANONYMOUS}))

    def authorize(self, identity: Identity) -> Caller:
        """
        Return the caller for an identity, with the scopes of the identity, of grants and of all.

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
        granted_scopes = self._scopes_in_any_index(grants, identity.principal, identity.principals)
        # scopes only add rights, so their order does not matter
        scopes = self.holding(identity.scopes) + holding(granted_scopes, self.index) + self.open
        return Caller(identity.principal, scopes, identity.principals, index=self.index)

    def own_scopes(
        self, principal: str, principals: frozenset[str], index: str = ""
    ) -> tuple[Scope, ...]:
        """
        Return the scopes that a principal has in an index now, without the scopes of everybody.

        These are the scopes of grants to one of `principals`, and for a user of the htpasswd file
        `htpasswd_scope`. An empty `index` stands for the index of this policy. Raises Unavailable
        if the grants, or the list of indexes, cannot be read.
        """
        scopes = self._scopes_in_any_index(self.access.load(), principal, principals)
        return holding(scopes, index or self.index)

    def has_rights(self, principal: str, principals: frozenset[str]) -> bool:
        """
        Return whether a principal has rights of its own in any index.

        Raises Unavailable if the grants, or the list of indexes, cannot be read.
        """
        scopes = self._scopes_in_any_index(self.access.load(), principal, principals)
        return bool(scopes)

    def holding(self, scopes: Iterable[Scope], *, names_index: bool = True) -> tuple[Scope, ...]:
        """
        Return the scopes of a credential that hold in the index.

        `names_index` is whether the credential says which indexes the scopes are about. Raises
        Unavailable if the result depends on the list of indexes, and that cannot be read.
        """
        scopes_here = holding(scopes, self.index)
        names_main = names_index and any(MAIN in scope.indexes for scope in scopes_here)
        # an earlier version let another index have the name main: a scope may mean either
        if self.index == MAIN and names_main and self.access.is_main_ambiguous():
            return holding(scopes_here, EVERY_INDEX)
        return scopes_here

    def _scopes_in_any_index(
        self, grants: Grants, principal: str, principals: frozenset[str]
    ) -> tuple[Scope, ...]:
        """Return the scopes that a principal has in any index by grants and by its password."""
        scopes = [grant.scope for grant in self._certain_grants(grants, principals)]
        if self.htpasswd_scope is not None and principal.startswith("htpasswd:"):
            scopes.append(self.htpasswd_scope)
        return tuple(scopes)

    def _certain_grants(self, grants: Grants, principals: frozenset[str]) -> Iterable[Grant]:
        """
        Return the grants to these principals whose indexes are certain.

        An earlier version let another index have the name main. While that is so in this store, a
        grant that names main may mean either index, and does not count.
        """
        all_grants = grants.of(principals)
        if not (all_grants and self.access.is_main_ambiguous()):
            return all_grants
        certain_grants = list[Grant]()
        for grant in all_grants:
            names_main = grant.names_index and MAIN in grant.scope.indexes
            if not names_main:
                certain_grants.append(grant)
        return certain_grants


class ReadPolicy(Struct, frozen=True):
    """Decides who may read a project, by its name alone, so no error tells whether it exists."""

    authorization: AuthorizationPolicy
    private_patterns: tuple[Pattern, ...]
    has_upstream: bool = False
    """Whether the index has an upstream index, so that other names may be public packages."""
    visitor: Caller | None = None
    """The caller of every request for a page of a static site, or None for a server."""

    @property
    def depends_on_grants(self) -> bool:
        """Whether a grant can change what anonymous callers may read."""
        return self.visitor is None and self.authorization.depends_on_grants

    def anonymous(self) -> Caller:
        """
        Return the caller without a credential, with the scopes of everybody.

        Raises Unavailable if the scopes depend on the grants, and these cannot be read.
        """
        return self.visitor or Caller(ANONYMOUS, self.authorization.public())

    def is_public(self, name: NormalizedName | None = None) -> bool:
        """
        Return whether anonymous callers may read a project, or every project if `name` is None.

        Raises Unavailable if the result depends on the grants, and these cannot be read.
        """
        return _may_read(self.anonymous(), name)

    def cache_scope(self, name: NormalizedName | None = None) -> CacheScope:
        """
        Return which caches may keep the pages and files of a project, or of all if `name` is None.

        A project that only a grant opens is closed when the grant ends, also in shared caches.
        Raises Unavailable if the result depends on the grants, and these cannot be read.
        """
        if not self.depends_on_grants:
            return "public" if self.is_public(name) else "private"
        return "revalidated" if self.is_public(name) else "private"

    @staticmethod
    def require_any_read(caller: Caller) -> None:
        """Raise Unauthenticated if a caller is anonymous, and may not read any project."""
        if caller.is_anonymous and not caller.may_anywhere(Action.READ):
            raise invalid_credential()

    def require_project_read(self, caller: Caller, name: NormalizedName) -> None:
        """
        Raise an error unless `caller` may read `name`.

        Raises Unauthenticated if the caller is anonymous, Forbidden if the name matches a
        private pattern, and NotFound otherwise. No error depends on which projects exist.
        """
        if caller.may(Action.READ, name):
            return
        # first, so that an anonymous caller does not learn which names are private
        if caller.is_anonymous:
            raise invalid_credential()
        if matches_any(self.private_patterns, name):
            message = f"{caller.display_name} may not read {name!r}."
            raise Forbidden(f"{message} Use a credential that may.")
        raise project_not_found(name)

    def require_lookup(self, caller: Caller, name: NormalizedName) -> None:
        """
        Raise an error unless `caller` may read `name`, perhaps as the name of a public package.

        If the index has an upstream index, a caller with a credential who may read or approve one
        project at least may look up every name that no private pattern matches, as no grant names
        public packages. A handler that later finds that the name is private, and that the
        caller may not read it, answers as for a name that no upstream index has.

        Raises Unauthenticated if the caller is anonymous, Forbidden if the name matches
        `private_names`, and NotFound otherwise. No error depends on which projects exist.
        """
        may_be_public = self.has_upstream and not matches_any(self.private_patterns, name)
        if not (caller.may_read_public_packages and may_be_public):
            self.require_project_read(caller, name)


def _may_read(caller: Caller, name: NormalizedName | None) -> bool:
    """Return whether a caller may read a project, or every project if `name` is None."""
    if name is None:
        return caller.may_everywhere(Action.READ)
    return caller.may(Action.READ, name)


def require_admin(caller: Caller, what: str) -> None:
    """
    Raise Forbidden unless the caller is an administrator, or Unauthenticated if it is anonymous.

    `what` has the words for what the caller wanted to do.
    """
    _require_admin_in(caller, what, caller.index)


def _require_admin_in(caller: Caller, what: str, index: str) -> None:
    """
    Raise Forbidden unless the caller is an administrator, or Unauthenticated if it is anonymous.

    The advice of Forbidden is to make a token for `index`.
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
    Raise an error unless the caller is an administrator of all indexes.

    Raises Unauthenticated if the caller is anonymous, and Forbidden otherwise. `what` has the words
    for what the caller wanted to do.
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

    A token with an owner changes no rights: else whoever steals the token could keep rights after
    the token is revoked. Raises Unauthenticated if the caller is anonymous, and Forbidden
    otherwise. `what` has the words for what the caller wanted to do.
    """
    require_server_admin(caller, what)
    if caller.owner:
        raise Forbidden(
            f"This token is of {escaped(describe_principal(caller.owner))}, and may not {what}. "
            "Sign in yourself, or use a token that has no owner."
        )


def require_approver(caller: Caller) -> None:
    """
    Raise an error unless the caller may approve some public packages.

    Raises Unauthenticated if the caller is anonymous, and Forbidden otherwise.
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
    Raise an error unless the caller may read all projects, also future ones.

    Raises Unauthenticated if the caller is anonymous, and Forbidden otherwise.
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
