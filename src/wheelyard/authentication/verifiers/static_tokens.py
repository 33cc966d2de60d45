"""
Static tokens: secrets that the operator already has, each with its own scope.

    [[token]]
    name = "ci"                       # makes the principal static:ci
    value = "any text of 16 characters or more"   # or sha256 = "its digest, hexadecimal"
    can = ["read", "upload"]          # the default
    expires = 2027-01-31              # at the first moment of this day, UTC; or a date and time
    projects = ["acme-*", "tools"]    # required; ["*"] is every project
    indexes = ["prod"]                # the default is main; ["*"] is every index

Only the SHA-256 of a token is kept, and tokens are looked up by their SHA-256. `projects` has no
default, so that a truncated file gives no right that its author did not write. One more token, for
reading and uploading all projects of main, can come from the environment. If the file has a token
with the same text, the table in the file counts.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from wheelyard.authentication.verifiers.reloading_file import ParsedFile, ReloadingFile
from wheelyard.authentication.verifiers.verifier import CredentialRejected, known_identity
from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import TOKEN_EXPIRED, Invalid, Unauthenticated, WheelyardError, quoted
from wheelyard.model.access import (
    EVERY_PROJECT,
    Action,
    Identity,
    Scope,
    parse_actions,
    parse_pattern,
    parse_right_indexes,
)
from wheelyard.model.api_token import PREFIX, has_token_prefix
from wheelyard.model.decoding import InvalidField, decode_table, escaped, require_one_line
from wheelyard.model.index_name import MAIN

MIN_TOKEN_CHARS: Final = 16
NAME_LIMIT_CHARS: Final = 100
ENVIRONMENT_TOKEN: Final = "environment"  # noqa: S105 - a name
"""The name of the token from the environment."""

_TOML_LINE: Final = re.compile(r"at line [0-9]+")


class _TokenTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a `[[token]]` table in the file of static tokens."""

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
    indexes: Annotated[
        Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)] | None,
        Meta(title='a list of indexes such as ["dev"]'),
    ] = None
    index: str = ""
    """The name of an index, or several with commas, as earlier versions had the field."""


class StaticToken(Struct, frozen=True):
    """A static token, without its text."""

    identity: Identity
    digest: str
    """The SHA-256 of the token's text, hexadecimal."""
    expires_at: datetime | None = None
    """When the token expires, or None if it never expires."""

    def is_expired(self, now: datetime) -> bool:
        """Return whether the token has expired at `now`."""
        return self.expires_at is not None and now >= self.expires_at


TokensByDigest = Mapping[str, StaticToken]
"""Static tokens by the SHA-256 of their text, hexadecimal."""


class StaticTokens:
    """
    The static tokens of an index, from a file and from the environment.

    Threads may share it. The constructor raises Invalid (code `bad_setting`) if the file cannot be
    read, or a token is invalid.
    """

    def __init__(
        self,
        path: Path | None,
        environment_token: str,
        now: Callable[[], datetime],
        monotonic: Clock,
    ) -> None:
        self._now = now
        # a variable that was made from a file ends with a line feed
        self._from_environment = _environment_token(environment_token.strip())
        self.file: ReloadingFile[TokensByDigest] | None = None
        if path is not None:
            self.file = ReloadingFile(path, parse_static_tokens, monotonic)

    def all(self) -> TokensByDigest:
        """Return all static tokens by their digest, also expired ones. May reload the file."""
        tokens = dict(self._tokens_in_file())
        for digest, token in self._from_environment.items():
            # a token in the file counts before one from the environment with the same text
            tokens.setdefault(digest, token)
        return tokens

    def _tokens_in_file(self) -> TokensByDigest:
        """Return the static tokens in the file, or none without a file. May reload the file."""
        if self.file is None:
            return {}
        return self.file.current()

    def expired(self) -> frozenset[str]:
        """Return the principals of the static tokens that have expired."""
        # computed each time, as a token expires without a change of the file
        now = self._now()
        tokens = self.all().values()
        return frozenset(token.identity.principal for token in tokens if token.is_expired(now))

    def find(self, secrets: Iterable[str]) -> StaticToken | None:
        """
        Return the static token of the first secret that is the text of one, or None if none is.

        The secrets are both halves of Basic credentials, or a Bearer token. May reload the file.
        Raises Unauthenticated (code `token_expired`) if that token has expired.
        """
        tokens_in_file = self._tokens_in_file()
        for secret in secrets:
            # the file may have the digest of a short text, which could be guessed
            if len(secret) < MIN_TOKEN_CHARS:
                continue
            # No comparison in constant time is needed: the time of a lookup can only tell of the
            # digest, and nobody can choose a secret with a given digest.
            digest = _digest_of(secret)
            token = tokens_in_file.get(digest) or self._from_environment.get(digest)
            if token is not None:
                return self._unexpired(token)
        return None

    def named(self, principal: str) -> StaticToken:
        """
        Return the static token of a principal. May reload the file.

        Raises Unauthenticated if the principal has no token, or (code `token_expired`) if the token
        has expired.
        """
        for token in self.all().values():
            if token.identity.principal == principal:
                return self._unexpired(token)
        raise Unauthenticated(
            "This token does not hold any more. Ask the operator of this index for another."
        )

    def _unexpired(self, token: StaticToken) -> StaticToken:
        """Return the token, or raise Unauthenticated if it has expired."""
        if token.expires_at is not None and token.is_expired(self._now()):
            # the client has proved the secret of the token, and so may learn the token's name
            expiry = f"{token.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            _, _, name = token.identity.principal.partition(":")
            raise Unauthenticated(
                f"The static token {escaped(name)} has expired on {expiry}. Ask the operator of "
                "this index for another.",
                code=TOKEN_EXPIRED,
            ) from CredentialRejected("static_expired")
        return token


def parse_static_tokens(text: str) -> ParsedFile[TokensByDigest]:
    """
    Return the static tokens in the text of a file, by their SHA-256.

    Raises Invalid (code `bad_setting`) if the text is no TOML, if it has anything but `[[token]]`
    tables, or if a table is wrong: then the message has the number of the table.
    """
    tokens: dict[str, StaticToken] = {}
    principals = {f"static:{ENVIRONMENT_TOKEN}"}
    for number, table in enumerate(_parse_tables(text), start=1):
        try:
            token = _parse_token(table)
            if token.identity.principal in principals:
                raise Invalid("its name is taken. Choose another.")
            if token.digest in tokens:
                raise Invalid("it has the text of another one. Give each a text of its own.")
        except WheelyardError as fault:
            label = ""
            name = table.get("name")
            if isinstance(name, str) and name:
                label = f" ({quoted(name)})"
            message = f"[[token]] number {number}{label}: {fault.message}"
            # not chained: the cause may contain the token
            raise Invalid(message, code="bad_setting") from None
        principals.add(token.identity.principal)
        tokens[token.digest] = token
    return ParsedFile(MappingProxyType(tokens))


def _parse_tables(text: str) -> list[dict[str, object]]:
    """Return the [[token]] tables in a text, or raise Invalid if the text has anything else."""
    import tomllib  # noqa: PLC0415 - only with a file of tokens

    try:
        content = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        match = _TOML_LINE.search(str(error))
        place = match[0] if match else "at its end"
        reason = f"It is no TOML {place}. Mend the file."
    else:
        tables = content.get("token", [])
        is_list = isinstance(tables, list) and all(isinstance(table, dict) for table in tables)
        if set(content) <= {"token"} and is_list:
            return list(tables)
        reason = "It has something else in it than [[token]] tables. Write only those."
    # outside of the handler: the decoder's error may contain the whole file
    raise Invalid(reason, code="bad_setting")


def _parse_token(table: Mapping[str, object]) -> StaticToken:
    """
    Return the static token of a table.

    Raises Invalid if the table is wrong. The message continues a sentence about the table.
    """
    try:
        fields = decode_table(table, _TokenTable)
    except InvalidField as wrong:
        raise Invalid(f"{wrong.message}.") from None
    name = require_one_line(fields.name, "its name", NAME_LIMIT_CHARS).strip()
    actions = parse_actions(fields.can)
    projects = tuple(map(parse_pattern, fields.projects))
    scope = Scope(actions, projects, _right_indexes(fields, actions))
    expires_at = _parse_expiry(fields.expires)
    if (fields.value is None) == (fields.sha256 is None):
        raise Invalid("it needs either value or sha256. Write one of them.")
    if fields.value is not None:
        _check_value(fields.value)
        digest = _digest_of(fields.value)
    else:
        digest = (fields.sha256 or "").lower()

    # an operator may run `sha256sum` without a token
    if digest == _digest_of(""):
        raise Invalid("its digest is that of nothing. Make it with 'printf %s TOKEN | sha256sum'.")
    return StaticToken(known_identity(f"static:{name}", scope), digest, expires_at)


def _right_indexes(fields: _TokenTable, actions: Action) -> tuple[str, ...]:
    """Return the indexes that a token is about, or raise Invalid if the fields are wrong."""
    if fields.indexes and fields.index:
        raise Invalid("it has indexes and index. Leave index out.")
    names = fields.index
    if fields.indexes:
        names = ",".join(fields.indexes)
    return parse_right_indexes(names, actions)


def _check_value(value: str) -> None:
    """Raise Invalid unless a value can be the text of a token. The message lacks the value."""
    if has_token_prefix(value):
        raise Invalid(
            f"it begins with {PREFIX}, as the tokens do that wheelyard makes. Choose another text, "
            "or make a token with the command token create."
        )
    if len(value) < MIN_TOKEN_CHARS:
        raise Invalid(
            f"it has fewer than {MIN_TOKEN_CHARS} characters. Choose a longer, random text."
        )
    if not value.isprintable() or value != value.strip():
        raise Invalid("it has control characters, or spaces around it. Leave them out.")


def _parse_expiry(value: object) -> datetime | None:
    """
    Return the time at which a token expires, or None if the field is missing.

    Raises Invalid if the value is no date and no time.
    """
    if value is None:
        return None
    # TOML has types for dates and times, but people write them between quotes, too
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    # a datetime is a date, too
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise Invalid("expires is no time. Write 2027-01-31, or 2027-01-31T12:00:00Z.")
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


def _digest_of(secret: str) -> str:
    """Return the hexadecimal SHA-256 of any text, also of a text with lone surrogates."""
    return sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _environment_token(text: str) -> TokensByDigest:
    """Return the token from the environment by its digest, or no token for an empty text."""
    if not text:
        return {}
    try:
        _check_value(text)
    except Invalid as fault:
        message = f"The static token makes no sense: {fault.message}"
        # not chained: the cause may contain the token
        raise Invalid(message, code="bad_setting") from None
    scope = Scope(Action.READ | Action.UPLOAD, (EVERY_PROJECT,), (MAIN,))
    identity = known_identity(f"static:{ENVIRONMENT_TOKEN}", scope)
    digest = _digest_of(text)
    return {digest: StaticToken(identity, digest)}
