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
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

from wheelyard.errors import IndexFault, Invalid, Unauthenticated, quoted
from wheelyard.model.access import EVERY_PROJECT, Action, Scope, parse_actions, parse_pattern
from wheelyard.model.identity import AUTHENTICATED, EVERYBODY, Identity
from wheelyard.model.text import one_line
from wheelyard.model.token import PREFIX, looks_like_token
from wheelyard.trust.watched import Content, WatchedFile

SHORTEST: Final = 16
"""Characters of a token."""
NAME_LIMIT: Final = 100
"""Characters of a token's name."""
BARE_NAME: Final = "environment"
"""What the bare token is called."""

_KEYS: Final = frozenset({"name", "value", "sha256", "can", "projects", "expires"})
_DEFAULT_ACTIONS: Final = ["read", "upload"]
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}")
_TOML_PLACE: Final = re.compile(r"at line [0-9]+")
_Table = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Held:
    identity: Identity
    expires_at: datetime | None

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


_ByDigest = Mapping[bytes, _Held]


class StaticTokens:
    """
    The static tokens of an index; safe to share between threads.

    Args:
        path: `[access] static_tokens_file`, or None.
        bare: One token that may read and upload everywhere, or nothing.
        now: The time of day, UTC.
        monotonic: Seconds that never jump.

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
        self.file = WatchedFile(path, parse_static_tokens, monotonic) if path else None

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Whom the tokens prove, expired ones included."""
        return tuple(held.identity for held in self._every)

    @property
    def expired(self) -> frozenset[str]:
        """The principals of those that hold no more."""
        now = self._now()
        return frozenset(held.identity.principal for held in self._every if held.is_over(now))

    @property
    def _every(self) -> tuple["_Held", ...]:
        tokens = self.file.value if self.file else {}
        return (*tokens.values(), *self._bare.values())

    def find(self, secrets: Iterable[str]) -> Identity | None:
        """
        Return whose token one of `secrets` is, or None where none of them is one.

        Args:
            secrets: Both halves of a Basic pair, or what follows Bearer. All are looked up,
                whatever comes of the first.

        Raises:
            Unauthenticated: It is one that has expired.
        """
        tokens = self.file.current() if self.file else {}
        # a digest may be of any text, and short ones can be guessed
        digests = [_digest_of(each) for each in secrets if len(each) >= SHORTEST]
        found = [tokens.get(each) or self._bare.get(each) for each in digests]
        held = next(filter(None, found), None)
        if held is None:
            return None
        if held.is_over(self._now()):
            raise Unauthenticated(
                "This token does not hold any more. Ask the operator of this index for another.",
                short="Missing or invalid token.",
            )
        return held.identity


def _digest_of(secret: str) -> bytes:
    return sha256(secret.encode(errors="surrogatepass")).digest()


def parse_static_tokens(text: str) -> Content[_ByDigest]:
    """
    Return the tokens of a file, by digest.

    Raises:
        Invalid: It is no TOML, or a table is wrong (code `bad_setting`); says which, and shows
            neither a value nor a digest.
    """
    tables = _tables(text)
    tokens: dict[bytes, _Held] = {}
    names = {BARE_NAME}
    for number, table in enumerate(tables, start=1):
        bad = partial(_bad_token, number, table.get("name"))
        name = _name(table, bad)
        if name in names:
            raise bad("has a name that is taken", "Choose another")
        names.add(name)
        digest = _digest(table, bad)
        if digest in tokens:
            raise bad("has the text of another one", "Give each a text of its own")
        tokens[digest] = _Held(_identity(name, _scope(table, bad)), _expiry(table, bad))
    return Content(MappingProxyType(tokens))


_Bad = Callable[[str, str], Invalid]


def _tables(text: str) -> list[_Table]:
    try:
        content = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        reason = f"It is no TOML {place[0] if place else 'at its end'}. Mend the file."
    else:
        tables = content.get("token", [])
        if set(content) <= {"token"} and isinstance(tables, list) and all(map(_is_table, tables)):
            return tables
        reason = "It has something else in it than [[token]] tables. Write only those."
    # not from within: the decoder's fault may carry the whole file
    raise Invalid(reason, code="bad_setting")


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _bad_token(number: int, name: object, what: str, remedy: str) -> Invalid:
    called = f" ({quoted(name)})" if isinstance(name, str) and name else ""
    return Invalid(f"[[token]] number {number}{called} {what}. {remedy}.", code="bad_setting")


def _name(table: _Table, bad: _Bad) -> str:
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise bad(f"has the unknown key {quoted(unknown[0])}", f"Use {', '.join(sorted(_KEYS))}")
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise bad("has no name", 'Write name = "ci", for example')
    try:
        return one_line(name, "The name of a token", NAME_LIMIT).strip()
    except Invalid as fault:
        raise bad("has a name that is none", fault.message.rstrip(".")) from fault


def _digest(table: _Table, bad: _Bad) -> bytes:
    value, digest = table.get("value"), table.get("sha256")
    if (value is None) == (digest is None):
        raise bad("needs either value or sha256", "Write one of them")
    if isinstance(value, str):
        objection = _objection(value)
        if objection:
            raise bad(*objection)
        return sha256(value.encode()).digest()
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise bad(
            "has a value or sha256 that is none",
            "value is the token's text, sha256 the 64 hexadecimal digits of its digest",
        )
    if bytes.fromhex(digest) == sha256().digest():  # or an empty password would open the index
        raise bad("has the digest of nothing", "Make it with 'printf %s TOKEN | sha256sum'")
    return bytes.fromhex(digest)


def _objection(value: str) -> tuple[str, str] | None:
    """Return what is wrong with a token's text, and what to do."""
    if looks_like_token(value):
        return (
            f"begins with {PREFIX}, as the tokens do that wheelyard makes",
            "Choose another text, or use 'wheelyard token create'",
        )
    if len(value) < SHORTEST:
        return f"has fewer than {SHORTEST} characters", "Choose a longer, random text"
    if not value.isprintable() or value != value.strip():
        return "has control characters, or spaces around it", "Leave them out"
    return None


def _scope(table: _Table, bad: _Bad) -> Scope:
    if "projects" not in table:
        raise bad("names no projects", f'Write projects = ["{EVERY_PROJECT}"] for all of them')
    leave_out = f"or leave can out for {_DEFAULT_ACTIONS}"
    words = _texts(table.get("can", _DEFAULT_ACTIONS), "can", bad, leave_out)
    every = f'or projects = ["{EVERY_PROJECT}"] for all of them'
    patterns = _texts(table["projects"], "projects", bad, every)
    try:
        return Scope(parse_actions(words), tuple(parse_pattern(each) for each in patterns))
    except IndexFault as fault:
        raise bad("makes no sense", fault.message.rstrip(".")) from fault


def _texts(given: object, key: str, bad: _Bad, otherwise: str) -> tuple[str, ...]:
    if isinstance(given, list) and given and all(isinstance(each, str) for each in given):
        return tuple(given)
    raise bad(f"needs a list of texts for {key}", f"Write one, {otherwise}")


def _expiry(table: _Table, bad: _Bad) -> datetime | None:
    given = table.get("expires")
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise bad(
            "has a time of expiry that is none",
            "Write expires = 2027-01-31, or 2027-01-31T12:00:00Z",
        )
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _identity(name: str, scope: Scope) -> Identity:
    principal = f"static:{name}"
    return Identity(principal, frozenset({principal, AUTHENTICATED, EVERYBODY}), (scope,))


def _bare(text: str) -> _ByDigest:
    if not text:
        return {}
    objection = _objection(text)
    if objection:
        what, remedy = objection
        raise Invalid(f"The static token {what}. {remedy}.", code="bad_setting")
    scope = Scope(Action.READ | Action.UPLOAD, (EVERY_PROJECT,))
    return {sha256(text.encode()).digest(): _Held(_identity(BARE_NAME, scope), None)}
