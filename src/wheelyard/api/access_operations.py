"""
Operations on grants, groups and API tokens, of which no answer has a token's digest.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, replace
from packaging.utils import NormalizedName

from wheelyard.api.operation import (
    Call,
    GroupName,
    Name,
    Note,
    OptionalIndex,
    Pattern,
    Principal,
    Principals,
    RightIndexes,
    TokenName,
    Word,
    WrittenIndexes,
)
from wheelyard.api.project_operations import WHOLE_HISTORY, HistoryQuery
from wheelyard.authentication.api_tokens import DEFAULT_LIFETIME
from wheelyard.authentication.rights import AccessExplanation, explain, parse_subject
from wheelyard.authentication.token_list import MarkedToken, TokenFilter, TokenMark, marked, select
from wheelyard.errors import Forbidden, Invalid
from wheelyard.model.access import (
    ANONYMOUS,
    Action,
    Scope,
    describe_principal,
    parse_actions,
    parse_right_indexes,
    right_index_text,
)
from wheelyard.model.api_token import TokenRecord
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import ACTIONS, AccessCommit, GrantFields, parse_member
from wheelyard.model.index_name import MAIN
from wheelyard.operations.access_control import AccessList, AddedGrant, GroupChange
from wheelyard.remedies import Caution
from wheelyard.settings.validation import provider_warnings
from wheelyard.wiring.index import Index

ActionWord = Literal["read", "upload", "manage", "approve", "admin"]
MAX_PATTERNS: Final = 100
Patterns = Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=MAX_PATTERNS)]
Words = Annotated[tuple[Word, ...], Meta(min_length=1, max_length=MAX_PATTERNS)]

_CHANGES_WITH_NEW_MEMBERS: Final = frozenset({"make", "set", "add"})
"""Changes of a group that name new members."""


class AccessHistory(Struct, frozen=True):
    """Changes of grants and groups, oldest first."""

    commits: tuple[AccessCommit, ...]


class AccessQuestion(Struct, frozen=True):
    """The question whether somebody may do something."""

    who: Principals
    """Principals, separated by commas, or `token:ID`."""
    project: Name
    """The name of the project, which need not exist."""
    action: ActionWord
    index: OptionalIndex = ""
    """The index that the question is about, or an empty text for the index of the request."""


class GrantRevocation(Struct, frozen=True, forbid_unknown_fields=True):
    """The grant to revoke, and why."""

    id: str
    note: Note = ""
    even_if_own: bool = False
    """Whether to go on if the caller is no administrator afterwards, which is refused else."""


class GroupEdit(Struct, frozen=True, forbid_unknown_fields=True):
    """A change of a group."""

    change: GroupChange
    name: GroupName
    who: tuple[Principal, ...] = ()
    """The members that the group gets, or the members to add or to remove, by `change`."""
    note: Note = ""
    even_if_own: bool = False
    """Whether to go on if the caller is no administrator afterwards, which is refused else."""


def show_access(call: Call) -> AccessList:
    """Show all grants and groups."""
    return call.index.server.access.show()


def access_history(call: Call, body: HistoryQuery = WHOLE_HISTORY) -> AccessHistory:
    """Show the changes of grants and groups that follow a number."""
    commits = call.index.server.access.records.history(body.after)
    # 0 stands for all
    limit = body.limit or None
    return AccessHistory(tuple(islice(commits, limit)))


def explain_access(call: Call, body: AccessQuestion) -> AccessExplanation:
    """
    Tell whether somebody may do something, and why.

    The right to approve is that of main, whatever index the question is about. Raises Invalid if
    the project's name or a principal is malformed, and NotFound if a token or the index is unknown.
    """
    index = call.index.named(body.index or call.index.name)
    name = parse_name(body.project)
    action = ACTIONS[body.action]

    # what is decided about public packages counts in all indexes
    if action is Action.APPROVE:
        index = index.named(MAIN)
    explanation = explain(
        parse_subject(body.who, index.authenticator),
        action,
        name,
        index.authenticator,
        index.settings.private_patterns,
        may_be_public=index.may_be_public(name),
    )
    if not explanation.allowed or action is not Action.UPLOAD:
        return explanation
    hints = (*explanation.hints, *_namespace_hints(index, name))
    return replace(explanation, hints=hints)


def _namespace_hints(index: Index, name: NormalizedName) -> Iterator[str]:
    """Yield a sentence about each namespace whose owners alone may publish a new project."""
    for namespace in index.server.namespaces.load().of(name):
        owners = [describe_principal(owner) for owner in sorted(namespace.owners)]
        # a namespace without owners limits nobody
        if owners:
            owners_in_words = "; ".join(owners)
            yield f"a new project in the namespace {namespace.name} is only for: {owners_in_words}"


def add_grant(call: Call, body: GrantFields) -> AddedGrant:
    """
    Add a grant, or return an equal one that is there.

    The warnings say why the grant may not do what is expected. Raises Invalid if a field is
    malformed. Raises Conflict if the grant names a group (code `unknown_group`) or an index (code
    `unknown_index`) that does not exist, or main while an index of an earlier version has that name
    (code `index_in_use`).
    """
    return call.index.server.add_grant(body, call.by)


def revoke_grant(call: Call, body: GrantRevocation) -> None:
    """
    Revoke a grant.

    Raises NotFound if there is no such grant, and Invalid if the note is not one line of text.
    Unless `even_if_own` is set, raises Conflict (code `own_access`) if the caller is an
    administrator by grants now, and would be none afterwards.
    """
    keep_admin = _principals_that_stay_admin(call, even_if_own=body.even_if_own)
    call.index.server.access.revoke(body.id, call.by, body.note, keep_admin)


def _principals_that_stay_admin(call: Call, *, even_if_own: bool) -> frozenset[str]:
    """Return the principals from which a change must not take the right to administer."""
    # so nobody locks themselves out by a slip: without an administrator only the store can help
    if even_if_own:
        return frozenset()
    return call.caller.principals


class EditedGroup(Struct, frozen=True):
    """A group that was changed, and has members that may be wrong."""

    name: str
    warnings: tuple[Caution, ...]
    """Warnings about new members that no known person is, or who may not sign in."""


def edit_group(call: Call, body: GroupEdit) -> EditedGroup | None:
    """
    Make, change or delete a group, and return warnings if there are any.

    None stands for no warnings. Raises Conflict if the group to make exists (code `group_exists`),
    or if the group to delete owns a namespace or has grants (code `group_in_use`). Unless
    `even_if_own` is set, raises Conflict (code `own_access`) if the caller is an administrator by
    grants now, and would be none afterwards. Raises NotFound if the group to add to, to remove from
    or to delete is missing, or a member to remove is not in it. Raises Invalid if the name, a
    member or the note is malformed, or nobody is named to add or to remove. Raises Unavailable if
    the store does not answer: the group may have been changed all the same.
    """
    keep_admin = _principals_that_stay_admin(call, even_if_own=body.even_if_own)
    # before the change: else the namespaces that the group owns would belong to nobody
    if body.change == "delete":
        call.index.server.namespaces.require_no_owner(body.name)
    call.index.server.access.edit_group(
        body.change, body.name, body.who, call.by, body.note, keep_admin
    )
    members = frozenset[str]()
    if body.change in _CHANGES_WITH_NEW_MEMBERS:
        members = frozenset(map(parse_member, body.who))
    # warnings do not stop the change: people may sign in for the first time after it
    warnings = list(provider_warnings(call.index.settings, f"the group {body.name}", members))
    warnings += call.index.server.known_people.absent(members, "remove it again")
    if not warnings:
        return None
    return EditedGroup(body.name, tuple(warnings))


class CallerRights(Struct, frozen=True, omit_defaults=True):
    """Actions that the caller may do, with the projects and indexes of these actions."""

    can: tuple[str, ...]
    projects: tuple[Pattern, ...]
    index: str = ""
    """
    The indexes of the rights, with commas between them, or `*` for all. An empty text, from an
    older server, means main, or for a right to administer, all indexes.
    """

    @classmethod
    def of(cls, scope: Scope) -> "CallerRights":
        """Return the rights of a scope."""
        words = tuple(action.word for action in Action if action & scope.actions)
        return cls(words, scope.projects, right_index_text(scope.indexes))

    @property
    def scope(self) -> Scope:
        """
        The scope with these rights.

        Raises Invalid if a word or an index of them is none.
        """
        # not trusted: `login` and `doctor` read these from the answer of any server
        actions = parse_actions(self.can, admin=True)
        return Scope(actions, self.projects, parse_right_indexes(self.index, actions))


class WhoAmI(Struct, frozen=True):
    """The principals and rights of the caller."""

    principal: str
    """The principal by which the journal names the caller."""
    principals: tuple[str, ...]
    """The principals by which grants can name the caller."""
    rights: tuple[CallerRights, ...]


class TokenAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """A token, without its text and digest."""

    id: str
    name: str
    owner: str | None
    """
    The principal that owns the token, or None for a token of nobody. A token may do no more than
    its owner.
    """
    can: tuple[str, ...]
    projects: tuple[Pattern, ...]
    index: str = ""
    """
    The indexes that the token is for, with commas between them, or `*` for all. An empty text, from
    an older server, means main, or for a right to administer, all indexes.
    """
    names_index: bool = True
    """Whether the token names its indexes. A token that an earlier version made may name none."""
    state: str
    """The state of the token: `active`, `expired`, `revoked`, `unconfirmed` or `ended`."""
    created: datetime
    created_by: str
    expires: datetime
    last_used: date | None
    """The last day, in UTC, on which the token was accepted, or None if none is recorded."""
    revoked: datetime | None = None
    revoked_by: str = ""
    replaced_by: str = ""
    """The id of the token that replaces this token, or an empty text if none does."""
    publishers: tuple[str, ...] = ()
    """
    The ids of the publishers for which the token of a CI job was minted. Other tokens have none.
    """
    marks: tuple[TokenMark, ...] = ()
    """
    In a list, why the token needs a look: the token expires within 14 days, the token was not used
    for 90 days, or the owner is gone.
    """

    @property
    def scope(self) -> Scope:
        """What the token may do. Raises Invalid if a word or an index of its rights is none."""
        return CallerRights(self.can, self.projects, self.index).scope

    @classmethod
    def of(
        cls,
        record: TokenRecord,
        state: str,
        last_used: date | None = None,
        marks: tuple[TokenMark, ...] = (),
    ) -> "TokenAnswer":
        """
        Return the answer about the token of a record.

        The record has neither `state` nor `last_used` nor `marks`. `last_used` is None if no use is
        recorded, or nobody has looked.
        """
        rights = CallerRights.of(record.scope)
        successor = ""
        if record.rotation is not None:
            successor = record.rotation.successor
        return TokenAnswer(
            id=record.id,
            name=record.name,
            owner=record.owner or None,
            can=rights.can,
            projects=rights.projects,
            index=rights.index,
            names_index=record.names_index,
            state=state,
            created=record.created_at,
            created_by=record.created_by,
            expires=record.expires_at,
            last_used=last_used,
            revoked=record.revoked_at,
            revoked_by=record.revoked_by,
            replaced_by=successor,
            publishers=record.publishers,
            marks=marks,
        )


class MadeToken(TokenAnswer, frozen=True, kw_only=True):
    """A new token."""

    token: str
    """The text of the token, which cannot be read again."""


class ReplacedToken(MadeToken, frozen=True, kw_only=True):
    """A new token, and the one that it replaces."""

    replaces: TokenAnswer


class TokenList(Struct, frozen=True):
    """Tokens, oldest first unless another order was asked for."""

    tokens: tuple[TokenAnswer, ...]
    total: int | UnsetType = UNSET
    """The number of tokens without the limit. The field is missing if no limit was sent."""


class TokensQuery(TokenFilter, frozen=True):
    """A query for some of the tokens that a caller may see."""

    limit: Annotated[int, Meta(ge=0, le=1000)] = 0
    """The most tokens in one answer, or 0 for all."""
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """How many tokens to leave out before the first one, if `limit` is sent."""


class NewToken(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A token to make."""

    name: TokenName
    projects: Patterns
    can: Words | None = None
    """
    The rights of the token, some of `read`, `upload`, `manage`, `approve` and `admin`. By default
    `read` and `upload`.
    """
    days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    expires: Annotated[datetime, Meta(tz=True)] | None = None
    """
    When the token expires, instead of `days`. Without both, the token has the default lifetime.
    """
    index: RightIndexes = ""
    """
    The indexes that the token is for, with commas between them, or `*` for all. An empty text means
    main, or for a right to administer, all indexes.
    """
    owner: Principals | UnsetType | None = UNSET
    """
    The owner of the token. By default that is the caller, if the caller can own tokens. None makes
    a token of nobody. Only an administrator makes tokens of nobody, and tokens of others.
    """

    def lifetime(self, now: datetime) -> timedelta:
        """
        Return the lifetime of the token: that of `days` or `expires`, or else the default.

        A lifetime that is not positive is refused by the creation of the token.
        Raises Invalid (code `invalid_field`) if both fields are sent.
        """
        if self.days is not None and self.expires is not None:
            raise Invalid("Send days or expires, and not both.", code="invalid_field")
        if self.expires is not None:
            return self.expires - now
        if self.days is not None:
            return timedelta(self.days)
        return DEFAULT_LIFETIME


class TokenRotation(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to replace by a new one."""

    token: str
    """The id of the token. An administrator may also send the name of the token."""
    hours: Annotated[float, Meta(ge=0, le=876_000)] = 24
    """How many hours the old token still works. 0 ends the old token at once."""


def whoami(call: Call) -> WhoAmI:
    """Tell the caller's principals and rights."""
    caller = call.caller
    principals = sorted(caller.principals | {ANONYMOUS})
    rights = [CallerRights.of(scope) for scope in caller.scopes]
    # several grants may give the same right, which is told once
    distinct_rights = dict.fromkeys(rights)
    return WhoAmI(caller.principal, tuple(principals), tuple(distinct_rights))


ALL_TOKENS: Final = TokensQuery()


def list_tokens(call: Call, body: TokensQuery = ALL_TOKENS) -> TokenList:
    """
    List the caller's own tokens, or those of all for an administrator, or some of them.

    Whoever sends an API token sees that token alone, unless it is an administrator's. Damaged
    records are left out.
    """
    caller_tokens = call.index.caller_tokens
    now = call.index.server.runtime.now()
    visible = caller_tokens.visible(call.caller)
    # marked before the filter, which may ask for a mark
    marked_tokens = [marked(token, now, caller_tokens.owner_is_gone) for token in visible]
    selected = select(marked_tokens, body)
    if not body.limit:
        return TokenList(tuple(map(_describe_marked_token, selected)))
    # cut after the filter, so that pages and total are those of the selected tokens
    page = selected[body.offset : body.offset + body.limit]
    return TokenList(tuple(map(_describe_marked_token, page)), len(selected))


def _describe_marked_token(entry: MarkedToken) -> TokenAnswer:
    """Return the answer about a token of a list, with its marks."""
    token = entry.token
    return TokenAnswer.of(token.record, token.state, token.last_used, entry.marks)


def create_token(call: Call, body: NewToken) -> MadeToken:
    """
    Make a token for the caller, who has signed in lately, or as an administrator for anybody.

    Raises Conflict if there is no such index (code `unknown_index`), if main is named while an
    index of an earlier version has that name (code `index_in_use`), or if the owner has too many
    tokens. Raises Invalid if a field is wrong, and Forbidden if the caller may make no token at
    all, or not this one.
    """
    caller_tokens = call.index.caller_tokens
    now = call.index.server.runtime.now()
    # checked first: a caller who may make no token must learn nothing of indexes and names
    caller_tokens.require_maker(call.caller, call.signed_in_at)
    call.index.server.index_administration.require_known(body.index)
    request = caller_tokens.request(
        call.caller,
        body.name,
        body.can or (),
        body.projects,
        body.lifetime(now),
        body.owner,
        index=body.index,
    )
    # this checks the right again, as other functions call it, too
    token, record = caller_tokens.create(call.caller, call.signed_in_at, request)
    answer = TokenAnswer.of(record, record.state(now))
    return MadeToken(**asdict(answer), token=token.text)


def rotate_token(call: Call, body: TokenRotation) -> ReplacedToken:
    """
    Replace a token by a new one with the same name, rights and lifetime.

    The old token works for `hours` more, or ends at once for 0. Raises Forbidden if the caller may
    make no token, and NotFound if the caller has no such token. Raises Conflict if the owner has
    too many, if several tokens have the name, or if the token is not active, is of a CI job, was
    rotated already, or is changed at the same time.
    """
    old_lifetime = timedelta(hours=body.hours)
    now = call.index.server.runtime.now()
    rotated = call.index.caller_tokens.rotate(
        call.caller, call.signed_in_at, body.token, old_lifetime
    )
    answer = TokenAnswer.of(rotated.new, rotated.new.state(now))
    return ReplacedToken(
        **asdict(answer),
        token=rotated.token.text,
        replaces=TokenAnswer.of(rotated.old, rotated.old.state(now)),
    )


class TokenChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The token to change, by its name or its id, and the indexes that it is to be about."""

    token: str
    index: WrittenIndexes
    """The names of the indexes, with commas between them, or `*` for all indexes."""


def change_token(call: Call, body: TokenChange) -> TokenAnswer:
    """
    Have a token be about other indexes.

    Raises Invalid if no index is named, or a name is malformed. Raises NotFound if there is no such
    token. Raises Conflict if there is no such index (code `unknown_index`), if main is named while
    an index of an earlier version has that name (code `index_in_use`), if several tokens have the
    name, or if the token is not active, or is of a CI job.
    """
    if not body.index:
        raise Invalid("Name the indexes of the token.", code="invalid_field")
    call.index.server.index_administration.require_known(body.index)
    tokens = call.index.tokens
    old_record = tokens.find(body.token)
    indexes = parse_right_indexes(body.index, old_record.scope.actions)
    record = tokens.name_indexes(old_record, indexes, call.by)
    now = call.index.server.runtime.now()
    return TokenAnswer.of(record, record.state(now))


def revoke_token(call: Call, id: str) -> None:  # noqa: A002 - its name in the path
    """
    Revoke a token: as its owner, as an administrator, or with the token itself.

    Raises NotFound for an unknown token, or for one of somebody else.
    """
    call.index.caller_tokens.revoke(call.caller, id)


def revoke_sent_token(call: Call) -> None:
    """
    Revoke the token that the request is sent with.

    Raises Forbidden if its credential is no API token.
    """
    if call.sent_token is None:
        raise Forbidden("This is not an API token. Send the token that is to be revoked.")
    # no right is checked: whoever has found a token may revoke it
    call.index.tokens.revoke(call.sent_token.id, call.by)
