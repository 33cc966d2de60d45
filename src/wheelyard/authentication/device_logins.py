"""
Logins of programs through a browser (RFC 8628): asked for, approved or refused, and used once.

Asking stores nothing and grants nothing: the device code is the signed request. What somebody
decides is one record, which every server reads anew. The token is made when the program fetches it,
after the record says that it is used. So of two programs with one device code only one gets a
token, and a crash in between costs another login and leaves no token that nobody has.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.authentication.api_tokens import ApiTokens, TokenRequest, require_token_name
from wheelyard.authentication.caller_tokens import CallerTokens
from wheelyard.authentication.token_owners import can_own_tokens
from wheelyard.catalog.device_logins import DeviceLoginRecords
from wheelyard.catalog.stored_credentials import SessionRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import (
    ACCESS_DENIED,
    AUTHORIZATION_PENDING,
    EXPIRED_LOGIN,
    INVALID_GRANT,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    WheelyardError,
)
from wheelyard.model.access import (
    Action,
    Caller,
    Pattern,
    Scope,
    intersection,
    is_subset,
    matches_any,
)
from wheelyard.model.api_token import ApiToken, TokenRecord
from wheelyard.model.decoding import escaped, to_one_line
from wheelyard.model.device_login import (
    MAX_TEXT_CHARS,
    MAX_WRONG_CODES,
    LoginApproval,
    LoginRecord,
    LoginRequest,
    device_code,
    is_user_code,
    page_text,
    request_in_device_code,
    request_in_page_text,
    user_code,
)
from wheelyard.operations.audit_log import log_login

GRANTED: Final = (Action.READ, Action.UPLOAD, Action.MANAGE)
"""The highest actions that a login can be for."""
HOST_LIMIT_CHARS: Final = 60
REMOVED_AT_ONCE: Final = 100
"""How many records of old logins an approval removes."""


class WantedToken(Struct, frozen=True, kw_only=True):
    """The token that a program asks for, or that a person allows it."""

    name: str
    actions: Action
    projects: tuple[Pattern, ...]
    days: int
    index: str = ""
    """The index that it names, or empty."""

    @property
    def scope(self) -> Scope:
        """What the token may do, as far as its owner may."""
        return Scope(self.actions, self.projects, self.index)


class BegunLogin(Struct, frozen=True):
    """What a program gets that asks for a login."""

    device_code: str
    user_code: str
    page_text: str
    """The query of the page on which a person approves."""


class DeviceLogins(Struct, frozen=True, kw_only=True):
    """
    Begins, approves, refuses and uses logins.

    Threads may share it. Every method raises Unavailable if the store does not answer.
    """

    records: DeviceLoginRecords
    keys: SessionRecords
    caller_tokens: CallerTokens
    has_people: bool
    """Whether anybody who can own a token can sign in in a browser."""

    @property
    def tokens(self) -> ApiTokens:
        """The tokens of the index."""
        return self.caller_tokens.tokens

    @property
    def runtime(self) -> Runtime:
        """The clock of the index."""
        return self.tokens.runtime

    def ask(self, wanted: WantedToken, host: str, address: str) -> BegunLogin:
        """
        Begin a login of a program at an address, which calls its machine `host`.

        The first login or sign-in of an index makes the key of sessions, and nothing else is
        stored. Raises Invalid if a value is malformed, or all together are too long, and Forbidden
        if nobody could approve the login.
        """
        if not self.has_people:
            raise Forbidden(
                "Nobody signs in to this index in a browser, so nobody could approve a login. Ask "
                "its operator for a token, and put it into ~/.netrc.",
                code="login_unavailable",
            )
        require_token_name(wanted.name)
        if wanted.actions not in {action.with_implied for action in GRANTED}:
            raise Invalid(
                "A login is for read, upload or manage. Ask for one of them.", code="invalid_field"
            )
        max_days = self.tokens.max_lifetime.days
        if not 1 <= wanted.days <= max_days:
            raise Invalid(f"Ask for a number of days from 1 to {max_days}.", code="invalid_field")
        request = LoginRequest(
            id=f"{self.runtime.random.getrandbits(128):032x}",
            address=address,
            host=to_one_line(host, HOST_LIMIT_CHARS),
            name=wanted.name,
            actions=0 if wanted.index else int(wanted.actions),
            projects=wanted.projects,
            days=wanted.days,
            asked_at=int(self.runtime.seconds()),
            index=wanted.index,
            index_actions=int(wanted.actions) if wanted.index else 0,
        )
        key = self.keys.require_key()
        text = page_text(request, key)
        if len(text) > MAX_TEXT_CHARS:
            raise Invalid(
                "The names of these projects are too long together. Ask for fewer, or for the "
                "beginning of names and a star.",
                code="invalid_field",
            )
        return BegunLogin(device_code(request, key), user_code(request, key), text)

    def open_request(self, text: str) -> LoginRequest:
        """
        Return the request in the text of a page's URL.

        Raises NotFound if it is no text of this index, has expired, or somebody has decided.
        """
        request, _ = self._request_on_page(text)
        self._require_open(self.records.get(request).value or LoginRecord())
        return request

    def allowed(self, caller: Caller, request: LoginRequest) -> dict[Action, tuple[Pattern, ...]]:
        """
        Return the highest actions that a caller can allow a program, each with its projects.

        It is what both the program has asked for, and the caller may do.
        """
        policy = replace(self.caller_tokens.policy, index=request.index)
        own = policy.own_scopes(caller.principal, caller.principals)
        allowed = dict[Action, tuple[Pattern, ...]]()
        for action in GRANTED:
            if action in request.scope.actions:
                common = intersection(Scope(action, request.projects, request.index), own)
                patterns = {pattern for scope in common for pattern in scope.projects}
                # without those that another one matches, too
                widest = tuple(
                    pattern
                    for pattern in sorted(patterns)
                    if not matches_any(patterns - {pattern}, pattern)
                )
                if widest:
                    allowed[action] = widest
        return allowed

    def require_person(self, caller: Caller, signed_in_at: datetime | None) -> None:
        """
        Raise Forbidden unless a caller may approve or refuse a login.

        See `CallerTokens.require_maker` for `signed_in_at`.
        """
        if not can_own_tokens(caller):
            raise Forbidden(
                "Only a person who has signed in approves a login, and a token approves none. Sign "
                "in yourself."
            )
        self.caller_tokens.require_maker(caller, signed_in_at)

    def approve(
        self,
        caller: Caller,
        signed_in_at: datetime | None,
        text: str,
        typed_code: str,
        allowed: WantedToken,
    ) -> None:
        """
        Let a program have a token of the caller, who has typed the code that the program shows.

        Raises as `open_request`, `require_person` and `CallerTokens.require_own`. Raises Invalid,
        with the field, if the code is wrong, or the token would do more than was asked for.
        """
        request, key = self._request_on_page(text)
        self.require_person(caller, signed_in_at)
        self._require_asked(request, allowed)
        owner = self.caller_tokens.owners.owner_of(caller)
        lifetime = timedelta(days=allowed.days)
        wanted = TokenRequest(
            name=allowed.name,
            actions=allowed.actions,
            projects=allowed.projects,
            lifetime=lifetime,
            index=allowed.index,
        )
        self.caller_tokens.require_own(owner, wanted)
        approval = LoginApproval(
            owner=owner.principal,
            owner_names=tuple(sorted(owner.names)),
            owner_line=owner.line,
            name=allowed.name,
            actions=0 if allowed.index else int(allowed.actions),
            projects=allowed.projects,
            days=allowed.days,
            index=allowed.index,
            index_actions=int(allowed.actions) if allowed.index else 0,
        )
        is_right = is_user_code(typed_code, request, key)
        for _ in self.records.retries.attempts():
            snapshot = self.records.get(request)
            record = snapshot.value or LoginRecord()
            self._require_open(record)
            if is_right:
                changed = replace(record, approval=approval)
            else:
                changed = replace(record, wrong_codes=record.wrong_codes + 1)
            if self.records.save(request, changed, snapshot):
                return self._end_try(caller, request, changed)
        raise self.records.retries.exhausted("this login")

    def refuse(self, caller: Caller, signed_in_at: datetime | None, text: str) -> None:
        """
        End a login, whatever code the program shows.

        Raises as `open_request` and `require_person`.
        """
        request, _ = self._request_on_page(text)
        self.require_person(caller, signed_in_at)
        for _ in self.records.retries.attempts():
            snapshot = self.records.get(request)
            record = snapshot.value or LoginRecord()
            self._require_open(record)
            if self.records.save(request, replace(record, refused_by=caller.principal), snapshot):
                log_login("login_refused", caller.principal, _facts(request))
                return
        raise self.records.retries.exhausted("this login")

    def redeem(self, text: str) -> tuple[ApiToken, TokenRecord]:
        """
        Return the token of an approved login, and its record, to the program with its device code.

        Raises Invalid with a code of RFC 8628 if there is none yet, or will never be, as for an
        owner who has lost access, or has made too many tokens, since the approval.
        """
        request = self._verified(text, is_page=False)
        if request is None:
            raise Invalid("This is no login of this index. Begin again.", code=INVALID_GRANT)
        for _ in self.records.retries.attempts():
            snapshot = self.records.get(request[0])
            record = snapshot.value or LoginRecord()
            approval = self._approval_in(request[0], record)
            self._require_owner(approval)
            used = replace(record, used_at=self.runtime.now())
            # a crash after this costs another login; a token is made by whoever has written it
            if self.records.save(request[0], used, snapshot):
                wanted = TokenRequest(
                    name=approval.name,
                    actions=approval.granted,
                    projects=approval.projects,
                    index=approval.index,
                    lifetime=timedelta(days=approval.days),
                    owner=approval.token_owner,
                )
                return self.tokens.create(wanted, by=approval.owner)
        raise self.records.retries.exhausted("this login")

    def _approval_in(self, request: LoginRequest, record: LoginRecord) -> LoginApproval:
        """Return the approval of a login, or raise Invalid if it has none that can be used."""
        if record.used_at is not None:
            raise Invalid(
                "This login was used already, and it is for once. If you have not got its token, "
                "revoke that on the page of your tokens, and begin again.",
                code=INVALID_GRANT,
            )
        if record.refused_by:
            raise Invalid("The login was refused in the browser.", code=ACCESS_DENIED)
        if record.is_spent:
            raise Invalid(
                f"{MAX_WRONG_CODES} wrong codes were typed in the browser, which ends the login. "
                "Begin again.",
                code=ACCESS_DENIED,
            )
        if self.runtime.seconds() >= request.expires_at:
            raise Invalid(
                "Nobody has approved the login in ten minutes. Begin again.", code=EXPIRED_LOGIN
            )
        if record.approval is None:
            raise Invalid(
                "Nobody has approved the login yet. Ask again in a few seconds.",
                code=AUTHORIZATION_PENDING,
            )
        return record.approval

    def _require_owner(self, approval: LoginApproval) -> None:
        """Raise Invalid unless the owner of an approved token may still get it."""
        subject = f"The token {escaped(approval.name)}"
        try:
            self.caller_tokens.owners.current_principals(approval.token_owner, subject)
            self.tokens.check_quota(approval.token_owner)
        except (Unauthenticated, Conflict) as fault:
            raise Invalid(fault.message, code=ACCESS_DENIED) from fault

    def _end_try(self, caller: Caller, request: LoginRequest, record: LoginRecord) -> None:
        """Log what has become of an approval, and raise Invalid if the code was wrong."""
        if record.approval is not None:
            log_login("login_approved", caller.principal, _facts(request))
            with suppress(WheelyardError):  # the next approval, or `check --sweep`, removes them
                self.records.remove_expired(REMOVED_AT_ONCE)
            return
        log_login("login_code_wrong", caller.principal, _facts(request))
        left = MAX_WRONG_CODES - record.wrong_codes
        if not left:
            raise _over()
        tries = "one more try" if left == 1 else f"{left} more tries"
        raise _wrong("code", f"The terminal does not show this code. You have {tries}.")

    def _request_on_page(self, text: str) -> tuple[LoginRequest, bytes]:
        """Return a request that has not expired, and the key, or raise NotFound."""
        verified = self._verified(text, is_page=True)
        if verified is None or self.runtime.seconds() >= verified[0].expires_at:
            raise _over()
        return verified

    def _verified(self, text: str, *, is_page: bool) -> tuple[LoginRequest, bytes] | None:
        """Return the request in a text of this index, and the key that has signed it, or None."""
        read = request_in_page_text if is_page else request_in_device_code
        # again by a read, as another server may have made the key just now
        for key in (self.keys.key(), self.keys.key("current")):
            request = read(text, key) if key else None
            if key and request is not None:
                return request, key
        return None

    @staticmethod
    def _require_open(record: LoginRecord) -> None:
        if record.is_decided:
            raise _over()

    @staticmethod
    def _require_asked(request: LoginRequest, allowed: WantedToken) -> None:
        """Raise Invalid, with the field, if a token would do more than was asked for."""
        require_token_name(allowed.name)
        if not 1 <= allowed.days <= request.days:
            raise _wrong("days", f"Write a number of days from 1 to {request.days}.")
        if allowed.index != request.index:
            raise _wrong("index", "The program has asked for another index.")
        if allowed.actions not in request.scope.actions:
            raise _wrong("can", "The program has not asked for that.")
        if not allowed.projects or not is_subset(allowed.scope, (request.scope,)):
            raise _wrong("projects", "Name projects that the program has asked for.")


def _facts(request: LoginRequest) -> dict[str, str]:
    return {"address": request.address, "host": request.host}


def _over() -> NotFound:
    """Return the error for a login about which nobody can decide any more."""
    return NotFound(
        "This login is over: it is more than ten minutes old, or somebody has decided about it, or "
        "too many wrong codes were typed. Start it again in the terminal."
    )


def _wrong(field: str, message: str) -> Invalid:
    fault = Invalid(message, code="invalid_field")
    fault.field = field
    return fault
