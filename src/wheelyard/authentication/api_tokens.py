"""
API tokens: creation, listing, revocation, verification, rotation, and warnings before they expire.

A rotation stores the new token first, and shortens the old one after that, by compare-and-swap. So
a crash in between leaves two working tokens and never none, and of two rotations at once only one
succeeds. The new token of the other one is revoked. Nobody has seen it.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.catalog.stored_tokens import RECORDED_LIMIT, TokenRecords
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import (
    NEWER_DOCUMENT,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    Conflict,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
    WheelyardError,
    quoted,
)
from wheelyard.model.access import (
    EVERY_PROJECT,
    Action,
    Credential,
    Pattern,
    Scope,
    right_index_text,
)
from wheelyard.model.api_token import (
    ID_LENGTH,
    NO_RECORD,
    NOBODY,
    PREFIX,
    ApiToken,
    IndexScope,
    Rotation,
    TokenOwner,
    TokenRecord,
    active_replacement,
    has_token_prefix,
    new_token,
    parse_token,
    token_id_in,
)
from wheelyard.model.decoding import escaped, require_one_line
from wheelyard.model.index_name import MAIN
from wheelyard.operations.audit_log import log_token
from wheelyard.remedies import Advice, Remedy

DEFAULT_LIFETIME: Final = timedelta(days=90)
DEFAULT_ACTIONS: Final = Action.READ | Action.UPLOAD
NAME_LIMIT_CHARS: Final = 100
MAX_TOKENS_PER_OWNER: Final = 100
"""The quota for tokens that callers make for themselves."""

logger = logging.getLogger("wheelyard")


class TokenRequest(Struct, frozen=True, kw_only=True):
    """
    The parameters of a new API token.

    The constructor raises Invalid if a token with admin is not for every project.
    """

    name: str
    actions: Action = DEFAULT_ACTIONS
    projects: tuple[Pattern, ...] = (EVERY_PROJECT,)
    lifetime: timedelta = DEFAULT_LIFETIME
    owner: TokenOwner = NOBODY
    """Who limits what the token may do."""
    indexes: tuple[str, ...] = (MAIN,)
    """The indexes that it is about, as in a `Scope`."""

    @property
    def scope(self) -> Scope:
        """What the token is to be allowed."""
        return Scope(self.actions, self.projects, self.indexes)

    def __post_init__(self) -> None:
        if self.actions & Action.ADMIN and self.projects != (EVERY_PROJECT,):
            raise Invalid(
                "A token with admin is for every project. Name no project, or leave admin out.",
                code="invalid_field",
            )


class RotatedToken(Struct, frozen=True):
    """The result of a rotation: the new token, and both records."""

    token: ApiToken
    new: TokenRecord
    old: TokenRecord


class ApiTokens(Struct, frozen=True):
    """
    Creates, lists, revokes, rotates and verifies the API tokens of an index.

    Threads may share it. Every method that reads or writes tokens raises Unavailable if the store
    does not answer, and for one token also if its record is damaged.
    """

    records: TokenRecords
    runtime: Runtime
    max_lifetime: timedelta
    records_usage: bool = True
    """Whether the day of the last use of a token is recorded."""
    _warned: LruCache[str, date] = field(default_factory=lambda: LruCache(RECORDED_LIMIT))
    """The last day (UTC) on which the log has warned of a token, by its id."""

    def create(self, request: TokenRequest, by: str) -> tuple[ApiToken, TokenRecord]:
        """
        Store a new API token, and return it with its record, which does not have the token's text.

        `by` is the principal that makes the token, as the audit log has it. Raises Invalid (code
        `invalid_field`) for a bad name or lifetime. What the owner may do is not checked.
        """
        require_token_name(request.name)
        if request.lifetime <= timedelta(0):
            raise Invalid(
                "A token has to live for some time. Choose 12h, 90d or 8w, for example.",
                code="invalid_field",
            )
        if request.lifetime > self.max_lifetime:
            raise Invalid(
                f"A token may live for at most {self.max_lifetime.days} days. Choose a shorter "
                "time, or raise tokens.max_days.",
                code="invalid_field",
            )
        now = self.runtime.now()
        token = new_token(self.runtime.random)

        # only the digest is stored: this is the one moment at which somebody can see the token
        index = right_index_text(request.indexes)
        scope = IndexScope(index, int(request.actions), request.projects)
        record = TokenRecord(
            id=token.id,
            sha256=token.digest,
            name=request.name,
            actions=0,
            projects=(),
            in_index=scope,
            created_at=now,
            created_by=by,
            expires_at=now + request.lifetime,
            owner=request.owner.principal,
            owner_names=tuple(sorted(request.owner.names)),
            owner_line=request.owner.line,
        )
        token, record = self.store(token, record)
        log_token("token_created", by, record.id, {"name": record.name})
        return token, record

    def store(self, token: ApiToken, record: TokenRecord) -> tuple[ApiToken, TokenRecord]:
        """Store the record of a new token, or of another if its id is taken, and return both."""
        for _ in self.records.retries.attempts():
            # create-only: a record that is there belongs to a token that somebody has
            try:
                return token, self.records.create(record)
            except Conflict:  # one in 62 to the tenth
                token = new_token(self.runtime.random)
                record = replace(record, id=token.id, sha256=token.digest)
        raise self.records.retries.exhausted("the tokens")

    def all(self) -> list[TokenRecord]:
        """Return the records of all tokens but damaged ones, in any state, oldest first."""
        return sorted(self.records.all(), key=lambda record: (record.created_at, record.id))

    def expiring(self) -> list[TokenRecord]:
        """
        Return the records of the tokens that expire soon, sorted by that time.

        Reads all tokens. One that was rotated is left out while its replacement is active.
        """
        now = self.runtime.now()
        records = {record.id: record for record in self.records.all()}
        expiring = list[TokenRecord]()
        for record in records.values():
            if record.expires_soon(now) and not active_replacement(record, records.get, now):
                expiring.append(record)
        return sorted(expiring, key=lambda record: record.expires_at)

    def check_quota(self, owner: TokenOwner) -> None:
        """
        Raise Conflict (code `too_many_tokens`) if an owner has too many active ones.

        That is `MAX_TOKENS_PER_OWNER`. Reads all tokens.
        """
        now = self.runtime.now()
        owned = (record for record in self.records.all() if record.is_owned_by(owner))
        active = sum(record.state(now) == "active" for record in owned)
        # counted without a lock: requests at the same moment may exceed it by one each
        if active >= MAX_TOKENS_PER_OWNER:
            raise Conflict(
                f"You have {MAX_TOKENS_PER_OWNER} tokens that open something, and nobody has more. "
                "Revoke those that are not used any more; /api/v1/tokens lists them.",
                code="too_many_tokens",
            )

    def last_uses(self, records: Iterable[TokenRecord]) -> dict[str, date]:
        """Return the day (UTC) of the last use of these tokens, by id, without unused ones."""
        return self.records.last_uses.days(frozenset(record.id for record in records))

    def any_active(self) -> bool:
        """Return whether the store has a token that is neither revoked nor expired."""
        now = self.runtime.now()
        return any(record.state(now) == "active" for record in self.records.all())

    def revoke(self, text: str, by: str) -> TokenRecord:
        """
        Revoke the API token with this id, or with the id in this whole token.

        Returns its record. The secret in the token is not checked. The record of a revoked token
        stays unchanged. `by` is the principal, as the audit log has it. Raises NotFound, whose
        message never has the secret, for an unknown token, or for any other text.
        """
        token_id = require_token_id(text)
        now = self.runtime.now()

        def revoked(record: TokenRecord) -> TokenRecord:
            # the first revocation says when and by whom; to do it again changes nothing
            if record.revoked_at is not None:
                return record
            return replace(record, revoked_at=now, revoked_by=by)

        # also on a full disk: a stolen token must not work until somebody has found space
        update = partial(self.records.update, token_id, revoked)
        before, after = self.records.store.with_reserve(update)
        if before != after:
            log_token("token_revoked", by, token_id, {"name": after.name})
        return after

    def find(self, text: str) -> TokenRecord:
        """
        Return the record of the token with this id, or with this name, or of this whole token.

        A token that is given by its id may be revoked or expired. Its secret is not checked. The
        token with a name is the active one, and never that of a CI job. One that was rotated does
        not count while the one that replaces it is active.

        Raises NotFound if there is no such token, and Conflict if several have this name.
        """
        token_id = token_id_in(text)
        if token_id is not None:
            record = self.records.find(token_id)
            if record is not None:
                return record
        if has_token_prefix(text):  # it may be a secret, with a typing error
            raise no_token_id()
        now = self.runtime.now()
        named = dict[str, TokenRecord]()
        for record in self.all():
            if record.name == text and not record.publishers:
                named[record.id] = record

        # within the overlap of a rotation two work, and the name means the new one
        active = list[TokenRecord]()
        for record in named.values():
            is_replaced = active_replacement(record, named.get, now) is not None
            if record.state(now) == "active" and not is_replaced:
                active.append(record)
        if not active:
            raise NotFound(
                f"There is no active token called {quoted(text)}. A token that has expired or was "
                "revoked is not rotated: make a new one.",
                advice=Advice(Remedy.LIST_TOKENS),
            )
        if len(active) > 1:
            made = [
                f"{record.id} (made {record.created_at:%Y-%m-%d %H:%M} UTC)" for record in active
            ]
            raise Conflict(
                f"{len(active)} active tokens are called {quoted(text)}: {', '.join(made)}. Rotate "
                "the right one by its id. The list of tokens says when each was last used.",
                advice=Advice(Remedy.LIST_TOKENS),
            )
        return active[0]

    def rotate(self, old: TokenRecord, overlap: timedelta, by: str) -> RotatedToken:
        """
        Replace the token `old` by a new one of the same name, rights, owner and lifetime.

        The old token expires after `overlap`, or earlier by itself. Without an overlap it is
        revoked. The new one lives for `tokens.max_days` at most. `by` is the principal, as the
        audit log has it.

        Raises Conflict if the old token is not active, is of a CI job, was rotated already, or is
        changed by somebody else at the same time. Raises Invalid (code `invalid_field`) if no token
        can have its name or rights any more. Raises Unavailable if the old token has fields that
        this version does not know (code `newer_document`), or if the store does not answer: the
        message names the new token, if there may be one.
        """
        self._require_rotatable(old)
        request = TokenRequest(
            name=old.name,
            actions=old.scope.actions,
            projects=old.scope.projects,
            indexes=old.scope.indexes,
            lifetime=min(old.lifetime, self.max_lifetime),
            owner=old.token_owner,
        )
        token, new = self.create(request, by)

        # a crash here leaves two working tokens, the new one shown to nobody
        try:
            shorter = self._shorten(old, new.id, overlap, by)
        except WheelyardError as fault:
            # nobody has seen the new token, so nobody misses it
            with suppress(WheelyardError):
                self.revoke(new.id, by)
            # after a conflict the old token is unchanged; else the store may have lost the answer
            if isinstance(fault, Conflict):
                raise
            raise Unavailable(
                f"{fault.fact} Token {new.id} was made for {old.id} and not shown to anybody. "
                f"Revoke it if the list of tokens has it as active, and rotate {old.id} again.",
                code=fault.code,
                advice=Advice(Remedy.REVOKE_TOKEN, new.id),
            ) from fault
        fields = {"name": old.name, "successor": new.id, "expires": shorter.expires_at.isoformat()}
        log_token("token_rotated", by, old.id, fields)
        return RotatedToken(token, new, shorter)

    def name_indexes(self, old: TokenRecord, indexes: tuple[str, ...], by: str) -> TokenRecord:
        """
        Have a token be about other indexes, and return its record.

        `by` is the principal, as the audit log has it. Raises Conflict if the token is not active,
        or is of a CI job, whose publisher says that. Raises NotFound if there is no such token.
        """
        if old.publishers:
            raise Conflict(f"Token {old.id} is a CI job's: change its trusted publisher.")

        def changed(record: TokenRecord) -> TokenRecord:
            state = record.state(self.runtime.now())
            if state != "active":
                raise Conflict(f"Token {record.id} is {state}.", advice=Advice(Remedy.CREATE_TOKEN))
            scope = record.scope
            stored = IndexScope(right_index_text(indexes), int(scope.actions), scope.projects)
            return replace(record, actions=0, projects=(), in_index=stored)

        before, after = self.records.update(old.id, changed)
        if before != after:
            fields = {"name": old.name, "index": right_index_text(after.scope.indexes)}
            log_token("token_changed", by, old.id, fields)
        return after

    def get(self, token: ApiToken) -> TokenRecord:
        """
        Return the record of an active token, from the cache or the store, and record its use.

        Logs once a day if it expires soon. Raises Unauthenticated, with one message, if the token
        is unknown or its secret is wrong. Raises Unauthenticated, with a message that says so, if
        it is revoked (code `token_revoked`) or expired (code `token_expired`).
        """
        record = self.records.find(token.id)
        # Without the secret, nobody learns whether there is a token with this id. NO_RECORD has the
        # comparison take the same time for an id that does not exist.
        if not (record or NO_RECORD).matches(token):
            reason = "token_secret" if record else "token_unknown"
            raise invalid_credential() from CredentialRejected(reason)
        return self._use(record)

    def active(self, token_id: str) -> TokenRecord:
        """
        Return the record of an active token by its id, and record its use.

        Raises Unauthenticated if the token is unknown, revoked (code `token_revoked`) or expired
        (code `token_expired`).
        """
        return self._use(self.records.find(token_id))

    def _require_rotatable(self, record: TokenRecord) -> None:
        now = self.runtime.now()
        state = record.state(now)
        if record.publishers:
            raise Conflict(
                f"Token {record.id} is a CI job's, and ends by itself. The next job gets another "
                "one."
            )
        if state != "active":
            raise Conflict(
                f"Token {record.id} is {state}. A rotation revives no token.",
                advice=Advice(Remedy.CREATE_TOKEN),
            )
        if record.other_fields:
            # a newer version may have put a limit there, which the new token would not have
            names = ", ".join(quoted(name) for name, _ in record.other_fields)
            raise Unavailable(
                f"Token {record.id} has fields that this version of wheelyard does not know "
                f"({names}), so a new token would lack them. Upgrade wheelyard, then rotate it.",
                code=NEWER_DOCUMENT,
            )
        replacement = active_replacement(record, self.records.find, now)
        if replacement is not None:
            raise Conflict(
                f"Token {record.id} was rotated already, and {replacement.id} replaces it.",
                advice=Advice(Remedy.ROTATE_TOKEN, replacement.id),
            )

    def _shorten(
        self, old: TokenRecord, successor: str, overlap: timedelta, by: str
    ) -> TokenRecord:
        """
        Store and return the record of a token that ends after `overlap`.

        Raises Conflict if somebody else has rotated or revoked it.
        """

        def shortened(record: TokenRecord) -> TokenRecord:
            now = self.runtime.now()
            # called with the record as it is stored now: of two rotations at once one is late here
            if record.state(now) != "active" or record.rotation != old.rotation:
                raise Conflict(
                    f"Token {record.id} was rotated or revoked by somebody else just now, and not "
                    "by this command.",
                    advice=Advice(Remedy.LIST_TOKENS),
                )
            rotation = Rotation(successor, record.created_at + record.lifetime)
            expires_at = min(record.expires_at, now + overlap)
            changed = replace(record, rotation=rotation, expires_at=expires_at)
            if overlap:
                return changed
            return replace(changed, revoked_at=now, revoked_by=by)

        return self.records.update(old.id, shortened)[1]

    def _use(self, record: TokenRecord | None) -> TokenRecord:
        """Return a record, and record its use, or raise Unauthenticated unless it is active."""
        if record is None:
            raise invalid_credential() from CredentialRejected("token_unknown")
        now = self.runtime.now()
        if record.state(now) != "active":
            ended = _ended_token(record)
            raise ended from CredentialRejected(ended.code)
        # of a rotated token never: its replacement would have to be read
        if record.rotation is None and record.expires_soon(now):
            self._warn_of_expiry(record, now.date())
        if self.records_usage and not record.publishers:  # minted tokens live for minutes
            self.records.last_uses.record(record.id, now)
        return record

    def _warn_of_expiry(self, record: TokenRecord, today: date) -> None:
        """Log that a token in use expires soon: once for each token, day and process."""
        if self._warned.get(record.id) == today:
            return
        self._warned.put(record.id, today, 1)
        logger.warning(
            "the token %s (%s) is in use and expires %s: rotate it, which makes the next one",
            record.id,
            escaped(record.name),
            f"{record.expires_at:%Y-%m-%d %H:%M} UTC",
        )


def _ended_token(record: TokenRecord) -> Unauthenticated:
    """Return the error for whoever has proven the secret of a revoked or expired token."""
    if record.revoked_at is not None:
        code = TOKEN_REVOKED
        what = "was revoked"
        at = record.revoked_at
    else:
        code = TOKEN_EXPIRED
        what = "has expired"
        at = record.expires_at
    subject = f"The token {escaped(record.name)} ({record.id})"
    when = f"{at:%Y-%m-%d %H:%M} UTC"
    replacement = f" {record.rotation.successor} has replaced it." if record.rotation else ""
    ended = f"{subject} {what} on {when}.{replacement}"
    return Unauthenticated(
        f"{ended} Use another one, or ask the operator of this index for one.",
        code=code,
        advice=Advice(Remedy.CREATE_TOKEN),
    )


def require_token_name(text: str) -> None:
    """Raise Invalid (code `invalid_field`) unless a token can have the name `text`."""
    if not require_one_line(text, "The name of a token", NAME_LIMIT_CHARS).strip():
        raise Invalid(
            f"A token needs a name. Use 1 to {NAME_LIMIT_CHARS} characters that say where it "
            "lives.",
            code="invalid_field",
        )


def no_token_id() -> NotFound:
    """Return the error for a text that is neither a token nor an id, without that text."""
    return NotFound(
        f"This is neither a token nor the id of one. Give the {ID_LENGTH} characters after "
        f"'{PREFIX}'.",
        advice=Advice(Remedy.LIST_TOKENS),
    )


def require_token_id(text: str) -> str:
    """Return the id that is `text`, or is in this whole token, or raise NotFound."""
    token_id = token_id_in(text)
    if token_id is None:
        raise no_token_id()
    return token_id


def invalid_credential() -> Unauthenticated:
    """Return the one error for a missing, unknown or misspelt credential."""
    return Unauthenticated(
        "Missing or invalid credential. Send a token of this index as the password, with any user "
        "name, or whatever else its operator takes: a name and its password, or a token of "
        "Google's.",
        advice=Advice(Remedy.CREATE_TOKEN),
    )


def api_token_in(credential: Credential) -> ApiToken | None:
    """
    Return the API token in a credential, or None.

    Raises Unauthenticated for a malformed API token.
    """
    # clients differ in whether they send a token as the user name or as the password
    for half in credential.halves:
        if not has_token_prefix(half):
            continue
        token = parse_token(half)
        # with the prefix it is nothing else: no other verifier gets a token with a typing error
        if token is None:
            raise invalid_credential() from CredentialRejected("token_shape")
        return token
    return None
