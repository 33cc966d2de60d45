"""
Rotation of API tokens: a new token replaces an old one, which lives on for a while.

The new token is stored first, and the old one is shortened after that, by compare-and-swap. So a
crash in between leaves two working tokens and never none, and of two rotations at once only one
succeeds. The new token of the other one is revoked; nobody has seen it.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from msgspec.structs import replace

from wheelyard.authentication.api_tokens import ApiTokens, TokenRequest, no_token_id
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable, WheelyardError, quoted
from wheelyard.model.access import Action
from wheelyard.model.token import (
    ApiToken,
    Rotation,
    TokenRecord,
    active_replacement,
    has_token_prefix,
    token_id_in,
)
from wheelyard.operations.audit_log import log_token


@dataclass(frozen=True, slots=True)
class RotatedToken:
    """The result of a rotation: the new token, and both records."""

    token: ApiToken = field(repr=False)
    new: TokenRecord
    old: TokenRecord


def find_token(tokens: ApiTokens, text: str) -> TokenRecord:
    """
    Return the record of the active token with this id or name, or with the id in this whole token.

    A token that was rotated does not count for its name while the one that replaces it is active.
    Raise NotFound if there is no active token, Conflict if several have the name.
    """
    token_id = token_id_in(text)
    record = None if token_id is None else tokens.records.get(token_id).value
    if record is not None:
        return record
    if has_token_prefix(text):  # it may be a secret, with a typing error
        raise no_token_id()
    now = tokens.runtime.now()
    named = {each.id: each for each in tokens.all() if each.name == text and not each.publishers}
    active = [each for each in named.values() if each.state(now) == "active"]
    found = [each for each in active if active_replacement(each, named.get, now) is None]
    if not found:
        raise NotFound(
            f"There is no active token called {quoted(text)}. See 'wheelyard token list'; a token "
            "that has expired or was revoked is not rotated: 'wheelyard token create' makes one.",
            short="No such token.",
        )
    if len(found) > 1:
        ids = ", ".join(f"{each.id} (made {each.created_at:%Y-%m-%d %H:%M} UTC)" for each in found)
        raise Conflict(
            f"{len(found)} active tokens are called {quoted(text)}: {ids}. Rotate the right one by "
            "its id; 'wheelyard token list' shows when each was last used.",
            short="Several tokens have this name.",
        )
    return found[0]


def rotate(tokens: ApiTokens, old: TokenRecord, overlap: timedelta, by: str) -> RotatedToken:
    """
    Store and return a new token with the name, rights, owner and lifetime of `old`, and shorten it.

    The old token expires after `overlap`, or earlier by itself; without an overlap it is revoked.
    The new one lives for `[tokens] max_days` at most. `by` is the principal that rotates.

    Raises:
        Invalid: The old token is not active, or is of a CI job.
        Conflict: It was rotated already, or is changed by somebody else at the same time.
        Unavailable: The store does not answer. The message names the new token, if there is one.
    """
    _require_rotatable(tokens, old)
    request = TokenRequest(
        name=old.name,
        actions=Action(old.actions),
        projects=old.projects,
        lifetime=min(old.lifetime, tokens.max_lifetime),
        owner=old.owner,
        owner_names=old.owner_names,
    )
    token, new = tokens.create(request, by)
    shorter = _shorten(tokens, old, new, overlap, by)
    fields = {"name": old.name, "successor": new.id, "expires": shorter.expires_at.isoformat()}
    log_token("token_rotated", by, old.id, fields)
    return RotatedToken(token, new, shorter)


def _shorten(
    tokens: ApiTokens, old: TokenRecord, new: TokenRecord, overlap: timedelta, by: str
) -> TokenRecord:
    """Store and return the old token's record, ended after `overlap`, or revoke the new token."""

    def shortened(record: TokenRecord) -> TokenRecord:
        now = tokens.runtime.now()
        if record.state(now) != "active" or record.rotation != old.rotation:
            raise Conflict(
                f"Token {record.id} was rotated or revoked by somebody else just now, and not by "
                "this command. See 'wheelyard token list'."
            )
        rotation = Rotation(new.id, record.created_at + record.lifetime)
        expires_at = min(record.expires_at, now + overlap)
        changed = replace(record, rotation=rotation, expires_at=expires_at)
        return changed if overlap else replace(changed, revoked_at=now, revoked_by=by)

    try:
        return tokens.update(old.id, shortened)[1]
    except WheelyardError as fault:
        with suppress(WheelyardError):
            tokens.revoke(new.id, by)
        if isinstance(fault, Conflict):
            raise
        raise Unavailable(
            f"{fault.short} Token {new.id} was made for {old.id} and not shown to anybody: if "
            f"'wheelyard token list' has it as active, 'wheelyard token revoke {new.id}' ends it. "
            f"Then 'wheelyard token rotate {old.id}' tries again.",
            code=fault.code,
        ) from fault


def _require_rotatable(tokens: ApiTokens, record: TokenRecord) -> None:
    now = tokens.runtime.now()
    state = record.state(now)
    if record.publishers:
        raise Invalid(
            f"Token {record.id} is a CI job's, and ends by itself. The next job gets another one."
        )
    if state != "active":
        raise Invalid(
            f"Token {record.id} is {state}. A rotation revives no token; make a new one with "
            "'wheelyard token create'."
        )
    replacement = active_replacement(record, lambda each: tokens.records.get(each).value, now)
    if replacement is not None:
        raise Conflict(
            f"Token {record.id} was rotated already. Rotate the one that replaces it: "
            f"'wheelyard token rotate {replacement.id}'."
        )
