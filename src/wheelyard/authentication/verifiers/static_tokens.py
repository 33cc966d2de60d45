"""
Static tokens: secrets of any text that the operator already has, each with rights of its own.

    [[token]]
    name = "ci"                       # becomes the principal static:ci
    value = "any text of 16 characters or more"   # or sha256 = "its digest, hexadecimal"
    can = ["read", "upload"]          # so unless given
    expires = 2027-01-31              # with the first moment of this day, UTC; or a date and time
    projects = ["acme-*", "tools"]    # needed; ["*"] is every project

A token is looked up by the SHA-256 of its text, which is all that is kept of it. The projects are
never guessed, so a file that was cut off opens nothing that its author has not written; where they
stand last, it opens no more of anything. Besides the file there may be one bare token, which may
read and upload everywhere; if the file has it too, the file says what it may.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from wheelyard.authentication.verifiers.reloading_file import ParsedFile, ReloadingFile
from wheelyard.errors import Invalid, Unauthenticated, WheelyardError, quoted
from wheelyard.model.access import (
    ALL_AUTHENTICATED,
    ANONYMOUS,
    EVERY_PROJECT,
    Action,
    Identity,
    Scope,
    parse_actions,
    parse_pattern,
)
from wheelyard.model.decoding import InvalidField, decode_table
from wheelyard.model.text import require_one_line
from wheelyard.model.token import PREFIX, has_token_prefix

MIN_TOKEN_CHARS: Final = 16
"""Characters of a token."""
NAME_LIMIT_CHARS: Final = 100
"""Characters of a token's name."""
ENVIRONMENT_TOKEN: Final = "environment"  # noqa: S105 - a name
"""What the bare token is called."""

_TOML_PLACE: Final = re.compile(r"at line [0-9]+")


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[token]]` table."""

    name: Annotated[str, Meta(pattern=r"\S", title='a name, such as "ci"')]
    value: str | None = None
    sha256: Annotated[
        Annotated[str, Meta(pattern=r"\A[0-9A-Fa-f]{64}\Z")] | None,
        Meta(title="the 64 hexadecimal digits of its text's digest"),
    ] = None
    can: Annotated[tuple[str, ...], Meta(min_length=1, title='a list such as ["read"]')] = (
        "read",
        "upload",
    )
    projects: Annotated[
        tuple[str, ...], Meta(min_length=1, title='a list such as ["acme-*"], or ["*"] for all')
    ]
    expires: Any = None


@dataclass(frozen=True, slots=True)
class _StaticToken:
    identity: Identity
    expires_at: datetime | None

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


_ByDigest = Mapping[bytes, _StaticToken]


class StaticTokens:
    """
    The static tokens of an index, from a file and one bare token; safe to share between threads.

    Raises:
        Invalid: The file cannot be read, or a token is refused (code `bad_setting`).
    """

    def __init__(
        self,
        path: Path | None,
        bare: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._now = now
        self._bare = _bare(bare.strip())  # files that become variables end in a newline
        self.file = ReloadingFile(path, parse_static_tokens, monotonic) if path else None

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Whom the tokens prove, expired ones included."""
        return tuple(held.identity for held in self._every)

    @property
    def expired(self) -> frozenset[str]:
        """The principals of those that hold no more."""
        now = self._now()
        return frozenset(held.identity.principal for held in self._every if held.is_expired(now))

    @property
    def _every(self) -> tuple[_StaticToken, ...]:
        tokens = self.file.value if self.file else {}
        return (*tokens.values(), *self._bare.values())

    def find(self, secrets: Iterable[str]) -> Identity | None:
        """
        Return whose token one of `secrets` is, or None where none of them is one.

        These are both halves of a Basic pair, or what follows Bearer. All are looked up, whatever
        comes of the first.

        Raises:
            Unauthenticated: It is one that has expired.
        """
        tokens = self.file.current() if self.file else {}
        # a digest may be of any text, and short ones can be guessed
        digests = [_digest_of(each) for each in secrets if len(each) >= MIN_TOKEN_CHARS]
        found = [tokens.get(each) or self._bare.get(each) for each in digests]
        held = next(filter(None, found), None)
        if held is None:
            return None
        if held.is_expired(self._now()):
            raise Unauthenticated(
                "This token does not hold any more. Ask the operator of this index for another.",
                short="Missing or invalid token.",
            )
        return held.identity


def parse_static_tokens(text: str) -> ParsedFile[_ByDigest]:
    """
    Return the tokens of a file, by digest.

    Raises:
        Invalid: A table is wrong; says which, and shows neither a value nor a digest.
    """
    tokens: dict[bytes, _StaticToken] = {}
    names = {ENVIRONMENT_TOKEN}
    for number, table in enumerate(_tables(text), start=1):
        try:
            digest, name, held = _token(table)
            if name in names:
                raise Invalid("its name is taken. Choose another.")
            if digest in tokens:
                raise Invalid("it has the text of another one. Give each a text of its own.")
        except WheelyardError as fault:
            given = table.get("name")
            called = f" ({quoted(given)})" if isinstance(given, str) and given else ""
            message = f"[[token]] number {number}{called}: {fault.message}"
            raise Invalid(message, code="bad_setting") from None
        names.add(name)
        tokens[digest] = held
    return ParsedFile(MappingProxyType(tokens))


def _tables(text: str) -> list[dict[str, object]]:
    try:
        content = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        reason = f"It is no TOML {place[0] if place else 'at its end'}. Mend the file."
    else:
        tables = content.get("token", [])
        is_list = isinstance(tables, list) and all(isinstance(each, dict) for each in tables)
        if set(content) <= {"token"} and is_list:
            return list(tables)
        reason = "It has something else in it than [[token]] tables. Write only those."
    # not from within: the decoder's fault may carry the whole file
    raise Invalid(reason, code="bad_setting")


def _token(table: Mapping[str, object]) -> tuple[bytes, str, _StaticToken]:
    """Return the digest of a token, its name, and what it proves."""
    try:
        found = decode_table(table, _Table)
    except InvalidField as wrong:
        raise Invalid(f"{wrong.message}.") from None
    name = require_one_line(found.name, "its name", NAME_LIMIT_CHARS).strip()
    scope = Scope(parse_actions(found.can), tuple(map(parse_pattern, found.projects)))
    held = _StaticToken(_identity(name, scope), _expiry(found.expires))
    if (found.value is None) == (found.sha256 is None):
        raise Invalid("it needs either value or sha256. Write one of them.")
    if found.value is not None:
        _require_fit(found.value)
        return _digest_of(found.value), name, held
    digest = bytes.fromhex(found.sha256 or "")
    if digest == sha256().digest():  # or an empty password would open the index
        raise Invalid("its digest is that of nothing. Make it with 'printf %s TOKEN | sha256sum'.")
    return digest, name, held


def _require_fit(value: str) -> None:
    """Raise Invalid unless a text can be a static token."""
    if has_token_prefix(value):
        raise Invalid(
            f"it begins with {PREFIX}, as the tokens do that wheelyard makes. Choose another text, "
            "or use 'wheelyard token create'."
        )
    if len(value) < MIN_TOKEN_CHARS:
        raise Invalid(
            f"it has fewer than {MIN_TOKEN_CHARS} characters. Choose a longer, random text."
        )
    if not value.isprintable() or value != value.strip():
        raise Invalid("it has control characters, or spaces around it. Leave them out.")


def _expiry(given: object) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise Invalid("expires is no time. Write 2027-01-31, or 2027-01-31T12:00:00Z.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _identity(name: str, scope: Scope) -> Identity:
    principal = f"static:{name}"
    return Identity(principal, frozenset({principal, ALL_AUTHENTICATED, ANONYMOUS}), (scope,))


def _digest_of(secret: str) -> bytes:
    return sha256(secret.encode(errors="surrogatepass")).digest()


def _bare(text: str) -> _ByDigest:
    if not text:
        return {}
    try:
        _require_fit(text)
    except Invalid as fault:
        message = f"The static token makes no sense: {fault.message}"
        raise Invalid(message, code="bad_setting") from None
    scope = Scope(Action.READ | Action.UPLOAD, (EVERY_PROJECT,))
    return {_digest_of(text): _StaticToken(_identity(ENVIRONMENT_TOKEN, scope), None)}
