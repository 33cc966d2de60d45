"""
API tokens: creation, listing, revocation, verification, rotation, and warnings before they expire.

A rotation stores the new token first, and then shortens the life of the old token by
compare-and-swap. So a crash in between leaves two working tokens and never none, and of two
rotations at once only one succeeds. The other rotation revokes its new token, which nobody has
seen.
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
"""The most active tokens of an owner, for tokens that callers make for themselves."""

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
    """The owner, whose rights limit the rights of the token."""
    indexes: tuple[str, ...] = (MAIN,)
    """The indexes that the token is about, as in a `Scope`."""

    @property
    def scope(self) -> Scope:
        """The scope that the token gets."""
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
    does not answer. A method for a single token also raises Unavailable if the record is damaged.
    """

    records: TokenRecords
    runtime: Runtime
    max_lifetime: timedelta
    records_usage: bool = True
    """Whether the day of the last use of a token is recorded."""
    _warned_days: LruCache[str, date] = field(default_factory=lambda: LruCache(RECORDED_LIMIT))
    """The last day (UTC) on which the log has warned of a token, by the id of the token."""

    def create(self, request: TokenRequest, by: str) -> tuple[ApiToken, TokenRecord]:
        """
        Store a new API token, and return it with its record, which does not have the token's text.

        `by` is the principal that makes the token, as the audit log has it. Raises Invalid (code
        `invalid_field`) for a bad name or lifetime. What the owner may do is not checked.
        """
        require_token_name(request.name)
        self._require_lifetime(request.lifetime)
        now = self.runtime.now()
        token = new_token(self.runtime.random)

        # only the digest of the token is stored, so nobody can read the token later
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

    def _require_lifetime(self, lifetime: timedelta) -> None:
        """Raise Invalid (code `invalid_field`) unless a new token may live for so long."""
        if lifetime <= timedelta(0):
            raise Invalid(
                "A token has to live for some time. Choose 12h, 90d or 8w, for example.",
                code="invalid_field",
            )
        if lifetime > self.max_lifetime:
            raise Invalid(
                f"A token may live for at most {self.max_lifetime.days} days. Choose a shorter "
                "time, or raise tokens.max_days.",
                code="invalid_field",
            )

    def store(self, token: ApiToken, record: TokenRecord) -> tuple[ApiToken, TokenRecord]:
        """
        Store the record of a new token, and return the token with its record.

        If the id of the token is taken, store and return another new token.
        """
        for _ in self.records.retries.attempts():
            # create-only: an existing record belongs to a token that somebody has
            try:
                return token, self.records.create(record)
            except Conflict:
                # the chance is one in 62 to the tenth
                token = new_token(self.runtime.random)
                record = replace(record, id=token.id, sha256=token.digest)
        raise self.records.retries.exhausted("the tokens")

    def all(self) -> list[TokenRecord]:
        """Return the records of all tokens in any state, without damaged records, oldest first."""
        return sorted(self.records.all(), key=lambda record: (record.created_at, record.id))

    def expiring(self) -> list[TokenRecord]:
        """
        Return the records of the tokens that expire soon, sorted by the time of their expiry.

        Reads all tokens. A rotated token is left out while its replacement is active.
        """
        now = self.runtime.now()
        record_by_id = {record.id: record for record in self.records.all()}
        expiring = list[TokenRecord]()
        for record in record_by_id.values():
            if record.expires_soon(now) and not active_replacement(record, record_by_id.get, now):
                expiring.append(record)
        return sorted(expiring, key=lambda record: record.expires_at)

    def check_quota(self, owner: TokenOwner) -> None:
        """
        Raise Conflict (code `too_many_tokens`) if an owner has `MAX_TOKENS_PER_OWNER` active ones.

        Reads all tokens.
        """
        now = self.runtime.now()
        active_count = 0
        for record in self.records.all():
            if record.is_owned_by(owner) and record.state(now) == "active":
                active_count += 1
        # counted without a lock: requests at the same moment exceed the quota by one each
        if active_count >= MAX_TOKENS_PER_OWNER:
            raise Conflict(
                f"You have {MAX_TOKENS_PER_OWNER} tokens that open something, and nobody has more. "
                "Revoke those that are not used any more; /api/v1/tokens lists them.",
                code="too_many_tokens",
            )

    def last_uses(self, records: Iterable[TokenRecord]) -> dict[str, date]:
        """Return the day (UTC) of the last use of tokens, by id, without tokens never used."""
        token_ids = frozenset(record.id for record in records)
        return self.records.last_uses.days(token_ids)

    def any_active(self) -> bool:
        """Return whether the store has a token that is neither revoked nor expired."""
        now = self.runtime.now()
        return any(record.state(now) == "active" for record in self.records.all())

    def revoke(self, text: str, by: str) -> TokenRecord:
        """
        Revoke an API token, and return its record.

        `text` is the id of the token or the whole token, whose secret is not checked. The record of
        a token that was revoked before stays unchanged. `by` is the principal, as the audit log has
        it. Raises NotFound, whose message never has the secret, for an unknown token or for any
        other text.
        """
        token_id = require_token_id(text)
        now = self.runtime.now()

        def revoke_record(record: TokenRecord) -> TokenRecord:
            # the record says when and by whom the token was revoked first
            if record.revoked_at is not None:
                return record
            return replace(record, revoked_at=now, revoked_by=by)

        # also on a full disk, as a stolen token must not work until somebody has found space
        update = partial(self.records.update, token_id, revoke_record)
        before, after = self.records.store.with_reserve(update)
        if before != after:
            log_token("token_revoked", by, token_id, {"name": after.name})
        return after

    def find(self, text: str) -> TokenRecord:
        """
        Return the record of a token, by the token's id, by its name, or by the whole token.

        A token that is found by its id or the whole token may be revoked or expired, and its secret
        is not checked. A name finds an active token, but none of a CI job, and no rotated token
        whose replacement is active.

        Raises NotFound if there is no such token, and Conflict if several tokens have this name.
        """
        token_id = token_id_in(text)
        if token_id is not None:
            record = self.records.find(token_id)
            if record is not None:
                return record
        # the text may be a secret with a typing error, which no message has
        if has_token_prefix(text):
            raise no_token_id()
        active = self._active_tokens_named(text)
        if not active:
            raise NotFound(
                f"There is no active token called {quoted(text)}. A token that has expired or was "
                "revoked is not rotated: make a new one.",
                advice=Advice(Remedy.LIST_TOKENS),
            )
        if len(active) > 1:
            ids_and_times = [
                f"{record.id} (made {record.created_at:%Y-%m-%d %H:%M} UTC)" for record in active
            ]
            choices = ", ".join(ids_and_times)
            raise Conflict(
                f"{len(active)} active tokens are called {quoted(text)}: {choices}. Rotate "
                "the right one by its id. The list of tokens says when each was last used.",
                advice=Advice(Remedy.LIST_TOKENS),
            )
        return active[0]

    def _active_tokens_named(self, name: str) -> list[TokenRecord]:
        """
        Return the records of the active tokens of a name, but none of a CI job.

        Within the overlap of a rotation, two tokens work, and the name means the new token.
        """
        now = self.runtime.now()
        record_by_id = dict[str, TokenRecord]()
        for record in self.all():
            if record.name == name and not record.publishers:
                record_by_id[record.id] = record
        active = list[TokenRecord]()
        for record in record_by_id.values():
            is_replaced = active_replacement(record, record_by_id.get, now) is not None
            if record.state(now) == "active" and not is_replaced:
                active.append(record)
        return active

    def rotate(self, old: TokenRecord, overlap: timedelta, by: str) -> RotatedToken:
        """
        Replace the token `old` by a new token with its name, rights, owner and lifetime.

        The old token expires after `overlap`, or earlier by itself. Without an overlap, the old
        token is revoked. The new token lives for `tokens.max_days` at most. `by` is the principal,
        as the audit log has it.

        Raises Conflict if the old token is not active, is of a CI job, was rotated already, or is
        changed by somebody else at the same time. Raises Invalid (code `invalid_field`) if a new
        token cannot have the name or the rights of the old token. Raises Unavailable if the old
        token has fields that this version does not know (code `newer_document`), or if the store
        does not answer: the message names the new token, if there may be one.
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

        # a crash here leaves two working tokens, of which nobody has seen the new one
        try:
            shortened = self._shorten(old, new.id, overlap, by)
        except WheelyardError as fault:
            # nobody has seen the new token, so nobody misses it
            with suppress(WheelyardError):
                self.revoke(new.id, by)
            # After a conflict, the old token is certainly unchanged. After another error, the store
            # may have changed the old token, and its answer was lost.
            if isinstance(fault, Conflict):
                raise
            raise Unavailable(
                f"{fault.fact} Token {new.id} was made for {old.id} and not shown to anybody. "
                f"Revoke it if the list of tokens has it as active, and rotate {old.id} again.",
                code=fault.code,
                advice=Advice(Remedy.REVOKE_TOKEN, new.id),
            ) from fault
        expiry = shortened.expires_at.isoformat()
        fields = {"name": old.name, "successor": new.id, "expires": expiry}
        log_token("token_rotated", by, old.id, fields)
        return RotatedToken(token, new, shortened)

    def name_indexes(self, old: TokenRecord, indexes: tuple[str, ...], by: str) -> TokenRecord:
        """
        Change the indexes that a token is about, and return its record.

        `by` is the principal, as the audit log has it. Raises Conflict if the token is not active,
        or is of a CI job, as its publisher names the indexes. Raises NotFound if there is no such
        token.
        """
        if old.publishers:
            raise Conflict(f"Token {old.id} is a CI job's: change its trusted publisher.")

        def change_indexes(record: TokenRecord) -> TokenRecord:
            state = record.state(self.runtime.now())
            if state != "active":
                raise Conflict(f"Token {record.id} is {state}.", advice=Advice(Remedy.CREATE_TOKEN))
            scope = record.scope
            new_scope = IndexScope(right_index_text(indexes), int(scope.actions), scope.projects)
            return replace(record, actions=0, projects=(), in_index=new_scope)

        before, after = self.records.update(old.id, change_indexes)
        if before != after:
            fields = {"name": old.name, "index": right_index_text(after.scope.indexes)}
            log_token("token_changed", by, old.id, fields)
        return after

    def get(self, token: ApiToken) -> TokenRecord:
        """
        Return the record of an active token, from the cache or the store, and record its use.

        The log has a warning once a day if the token expires soon. Raises Unauthenticated, with one
        fixed message, if the token is unknown or its secret is wrong. Raises Unauthenticated, with
        a message that says so, if the token is revoked (code `token_revoked`) or expired (code
        `token_expired`).
        """
        record = self.records.find(token.id)
        # Without the secret, nobody learns whether there is a token with this id. By NO_RECORD, the
        # comparison takes as long for an id that does not exist.
        compared_record = record or NO_RECORD
        if not compared_record.matches(token):
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
        """
        Raise an error unless a token can be rotated.

        Raises Conflict if the token is of a CI job, is not active, or was rotated already, and
        Unavailable (code `newer_document`) if it has fields that this version does not know.
        """
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
            # such a field may be a limit of a newer version, which the new token would not have
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
        Store and return the record of the token `old`, which ends after `overlap`.

        `successor` is the id of the token that replaces it. Raises Conflict if somebody else has
        rotated or revoked the token.
        """

        def shorten_record(record: TokenRecord) -> TokenRecord:
            now = self.runtime.now()
            # `record` is the record as stored now, which another rotation may just have changed
            if record.state(now) != "active" or record.rotation != old.rotation:
                raise Conflict(
                    f"Token {record.id} was rotated or revoked by somebody else just now, and not "
                    "by this command.",
                    advice=Advice(Remedy.LIST_TOKENS),
                )
            rotation = Rotation(successor, record.created_at + record.lifetime)
            expires_at = min(record.expires_at, now + overlap)
            rotated = replace(record, rotation=rotation, expires_at=expires_at)
            if overlap:
                return rotated
            return replace(rotated, revoked_at=now, revoked_by=by)

        _, shortened = self.records.update(old.id, shorten_record)
        return shortened

    def _use(self, record: TokenRecord | None) -> TokenRecord:
        """
        Return the record of an active token, and record the use of the token.

        Raises Unauthenticated if `record` is None, or if the token is revoked or expired.
        """
        if record is None:
            raise invalid_credential() from CredentialRejected("token_unknown")
        now = self.runtime.now()
        if record.state(now) != "active":
            error = _ended_token_error(record)
            raise error from CredentialRejected(error.code)
        # no warning of a rotated token, as its replacement would have to be read for that
        if record.rotation is None and record.expires_soon(now):
            self._warn_of_expiry(record, now.date())
        # the use of a minted token is not recorded, as it lives for minutes
        if self.records_usage and not record.publishers:
            self.records.last_uses.record(record.id, now)
        return record

    def _warn_of_expiry(self, record: TokenRecord, today: date) -> None:
        """Log that a token in use expires soon, once a day for each token in each process."""
        if self._warned_days.get(record.id) == today:
            return
        self._warned_days.put(record.id, today, 1)
        logger.warning(
            "the token %s (%s) is in use and expires %s: rotate it, which makes the next one",
            record.id,
            escaped(record.name),
            f"{record.expires_at:%Y-%m-%d %H:%M} UTC",
        )


def _ended_token_error(record: TokenRecord) -> Unauthenticated:
    """Return the error for a caller who has proven the secret of a revoked or expired token."""
    if record.revoked_at is not None:
        code = TOKEN_REVOKED
        verb = "was revoked"
        ended_at = record.revoked_at
    else:
        code = TOKEN_EXPIRED
        verb = "has expired"
        ended_at = record.expires_at
    subject = f"The token {escaped(record.name)} ({record.id})"
    end_time = f"{ended_at:%Y-%m-%d %H:%M} UTC"
    replacement = f" {record.rotation.successor} has replaced it." if record.rotation else ""
    fact = f"{subject} {verb} on {end_time}.{replacement}"
    return Unauthenticated(
        f"{fact} Use another one, or ask the operator of this index for one.",
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
    """Return the error for a text that is neither a token nor an id. The error lacks the text."""
    return NotFound(
        f"This is neither a token nor the id of one. Give the {ID_LENGTH} characters after "
        f"'{PREFIX}'.",
        advice=Advice(Remedy.LIST_TOKENS),
    )


def require_token_id(text: str) -> str:
    """Return the token id in a text, which is the id or a whole token, or raise NotFound."""
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
    Return the API token in a credential, or None if the credential is of another type.

    Raises Unauthenticated for a malformed API token.
    """
    # clients differ in whether they send a token as the user name or as the password
    for half in credential.halves:
        if not has_token_prefix(half):
            continue
        token = parse_token(half)
        # a text with the prefix is an API token: no other verifier gets one with a typing error
        if token is None:
            raise invalid_credential() from CredentialRejected("token_shape")
        return token
    return None
