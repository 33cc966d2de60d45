"""
Types of settings, and the check of a value with its message.

A type is an `Annotated` whose `Meta` msgspec checks. Its description is what messages and the table
of the page `settings.md` say that a value is. Where a pattern is not enough, `extra` has a function
`accepts`, which is false for a wrong text, or raises Invalid or ValueError.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Final, Literal, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.json import encode
from msgspec.structs import fields

from wheelyard.errors import DOCUMENTATION, Invalid, quoted
from wheelyard.model import rule_keys
from wheelyard.model.access import parse_pattern
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.index_name import parse_index_name, parse_right_index
from wheelyard.remedies import Advice
from wheelyard.storage.location import BUCKET_FORMS, GOOGLE, SCHEMES, parse_location

HIDDEN_VALUE: Final = "a value with @, ?, # or % in it (not shown, because it may hold a secret)"
TABLE_SECRETS: Final = frozenset({"password", "secret"})
"""Keys of tables whose values come from the environment alone."""
LARGEST: Final = 10**9
"""The largest number that a setting may have."""
_ROUTES: Final = "simple pypi legacy files project api raw packages integrity health ready metrics"
RESERVED_ROOTS: Final = frozenset(_ROUTES.split())
"""First path segments of the routes, which no `server.roots` may have."""

_SECRET_CHARACTERS: Final = re.compile(r"[@?#%]")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_URL: Final = re.compile(r"https?://[^\x00-\x20\x7f/?#@]+(/[^\x00-\x20\x7f?#]*)?")
_SEGMENT: Final = r"(?!\.{1,2}(?:/|\Z))[^\s\x00-\x1f\x7f%?#\\/]+"
"""A path segment that needs no quoting in a URL."""

_DOMAIN: Final = r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_AUDIENCE: Final = r"(?!.*://[^/?#]*@)[\x21-\x7e]{1,500}"
_TITLE: Final = r"(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,60}"
_LABEL: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,39}"
_INDEX_URL: Final = "a URL such as https://a.example/simple/; username and password are apart"
_COLLECTOR: Final = "a collector's URL without /v1/traces, such as http://127.0.0.1:4318"
_JOBS: Final = "a list of 5 texts at most, ASCII without spaces"
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
Seconds = Annotated[int, Meta(ge=0, le=LARGEST, title="seconds")]
Timeout = Annotated[int, Meta(ge=1, le=600, title="seconds")]
Days = rule_keys.Days
MebibytesOrNone = Annotated[int, Meta(ge=0, le=LARGEST, title="MiB")]
Mebibytes = Annotated[int, Meta(ge=1, le=LARGEST, title="MiB")]
Moment = rule_keys.Moment
GrantableAction = Literal["read", "upload", "manage"]
Pattern = rule_keys.Pattern


def bad_setting(why: str, advice: Advice | None = None) -> Invalid:
    """Return Invalid (`bad_setting`) with `why`: `section.key: what is wrong, what is right`."""
    message = f"{why}. See {DOCUMENTATION}/settings.md."
    return Invalid(message, code="bad_setting", advice=advice)


def quote_safely(text: str) -> str:
    """Return an invalid value, quoted, or `HIDDEN_VALUE` if it may contain a secret."""
    # a URL may have a password in it, and a password may be written as a value by mistake
    if _SECRET_CHARACTERS.search(text):
        return HIDDEN_VALUE
    return quoted(text)


def is_url(text: str) -> bool:
    """Return whether a text is an http or https URL without credential, query and fragment."""
    return bool(_URL.fullmatch(text)) and _has_host(text)


def unpack(hint: Any) -> tuple[Any, Meta]:  # noqa: ANN401 - any type of a setting
    """Return a type without its limits, and the limits. `T | None` counts as T."""
    if type(None) in get_args(hint):
        hint = get_args(hint)[0]
    if get_origin(hint) is not Annotated:
        return hint, Meta()
    kind, meta = get_args(hint)
    return kind, meta


def expected(hint: Any) -> str:  # noqa: ANN401 - see above
    """Return what a value of a type is, for messages and the documentation."""
    kind, meta = unpack(hint)
    if meta.description:
        return meta.description
    if get_origin(kind) is Literal:
        # an empty text is left out: it is the value of a setting that is not set
        words = [word for word in get_args(kind) if word]
        return f"{', '.join(words[:-1])} or {words[-1]}"
    if kind in (int, float):
        return f"a number from {meta.ge} to {meta.le}"
    if get_origin(kind) is not tuple:
        return {bool: "true or false", str: "text"}.get(kind, "a table")
    member = get_args(kind)[0]
    is_text = unpack(member)[0] is str or get_origin(member) is Literal
    if is_text:
        return f"a list of {expected(member)}"
    return "tables, in [[ ]]"


def problem(value: object, hint: Any, *, strict: bool, is_secret: bool = False) -> str:  # noqa: ANN401 - see above
    """
    Return why a value is none of a type, as `expected ..., and found ...`, or an empty text.

    Unless `strict` is set, a text in the form of a number or a boolean counts as that value. With
    `is_secret`, the message does not repeat the value.
    """
    kind, meta = unpack(hint)

    # the message is about the first entry of a list that is wrong
    if get_origin(kind) is tuple and isinstance(value, list):
        for member in value:
            why = problem(member, get_args(kind)[0], strict=strict, is_secret=is_secret)
            if why:
                return why
    found_clause = "" if is_secret else _found_clause(value)
    try:
        # raises for bytes of a variable that are no UTF-8: Python makes lone surrogates of them
        encode(value)
        convert(value, hint, strict=strict)
        is_accepted = not meta.extra or meta.extra["accepts"](value)
        if is_accepted and not _has_wrong_member(value, kind, strict=strict):
            return ""
    except UnicodeEncodeError:
        return f"expected text in UTF-8{found_clause}"
    except (ValidationError, Invalid, ValueError, OverflowError, RecursionError):
        # A time outside of the years 1 to 9999 in UTC raises OverflowError. The message of msgspec
        # is not used: it is for programmers, and may have the value in it.
        pass
    return f"expected {expected(hint)}{found_clause}"


def _has_wrong_member(value: object, kind: Any, *, strict: bool) -> bool:  # noqa: ANN401 - see above
    """Return whether a key or a value of a table is none of its type."""
    members = _typed_members(value, kind)
    return any(problem(member, hint, strict=strict) for member, hint in members)


def _typed_members(value: object, kind: Any) -> Iterator[tuple[object, Any]]:  # noqa: ANN401 - see above
    """Yield the keys and values of a table, each with its type, or nothing for another value."""
    if get_origin(kind) is dict and isinstance(value, dict):
        key_type, member_type = get_args(kind)
        for key, member in value.items():
            yield key, key_type
            yield member, member_type


def table_problems(
    place: str, tables: Sequence[Mapping[str, object]], section: type[Struct]
) -> Iterator[str]:
    """Yield a sentence for each key of the tables `[[place]]` that is unknown, wrong or missing."""
    fields_by_name = {field.name: field for field in fields(section)}
    keys = ", ".join(name for name in fields_by_name if name not in TABLE_SECRETS)
    for number, table in enumerate(tables, 1):
        for name in table.keys() - fields_by_name:
            yield f"{place} {number}: there is no {quote_safely(name)}, but {keys}"
        for name, field in fields_by_name.items():
            if name in table:
                is_secret = name in TABLE_SECRETS
                why = problem(table[name], field.type, strict=True, is_secret=is_secret)
                if why:
                    yield f"{place} {number}.{name}: {why}"
            elif field.required:
                yield f"{place} {number}.{name}: is missing. Write {expected(field.type)}"


def _found_clause(value: object) -> str:
    """Return `, and found VALUE` for text and numbers that are not too large to be printed."""
    if isinstance(value, str):
        return f", and found {quote_safely(value)}"
    if isinstance(value, int | float) and abs(value) <= LARGEST:
        # TOML writes true and false
        return f", and found {value}".lower()
    return ""


def is_loopback_url(parts: SplitResult) -> bool:
    """Return whether the host of a URL is `localhost` or a loopback address."""
    with suppress(ValueError):
        return ip_address(parts.hostname or "").is_loopback
    return parts.hostname == "localhost"


def _has_host(url: str) -> bool:
    """Return whether a URL has a host, and no port or one from 1 to 65535."""
    # ValueError: such as an unclosed bracket, or port 65536
    with suppress(ValueError):
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    return False


def _is_host(text: str) -> bool:
    return bool(_HOST.fullmatch(text)) and _has_host(f"//{text}")


def _is_bucket(text: str) -> bool:
    """Return whether a text is the URL of a bucket. Raises Invalid for a wrong location."""
    has_query = "?" in text or "#" in text
    return not has_query and bool(parse_location(text))


def _is_whole_bucket(text: str) -> bool:
    location = parse_location(text)
    return _is_bucket(text) and location.scheme == GOOGLE and not location.prefix


def _is_location(text: str) -> bool:
    """Return whether a text is `memory:`, a bucket, or a folder, not below the user's `~`."""
    scheme, colon, _ = text.partition(":")
    if colon and scheme.lower() == "memory":
        return text == "memory:"
    if "://" in text or (colon and scheme.lower() in SCHEMES):
        return _is_bucket(text)
    # only a shell replaces ~: here it would be a folder of this name
    return bool(text) and "\0" not in text and text[0] != "~"


def _is_root(text: str) -> bool:
    return parse_name(text) == text and text not in RESERVED_ROOTS


def _is_collector(text: str) -> bool:
    return is_url(text) and not text.rstrip("/").endswith(("/v1/traces", "/v1/metrics"))


def _is_index_name(text: str) -> bool:
    return not text or bool(parse_index_name(text))


def _text_meta(
    description: str, *, pattern: str | None = None, accepts: Callable[[str], object] | None = None
) -> Meta:
    # msgspec searches for a pattern, which here has to match the whole value
    anchored = rf"\A(?:{pattern})\Z" if pattern is not None else None
    extra = {"accepts": accepts} if accepts is not None else None
    return Meta(description=description, pattern=anchored, extra=extra)


ListenAddress = Annotated[str, _text_meta("an address such as 127.0.0.1", pattern="[^/@]+")]
PathPrefix = Annotated[
    str, _text_meta("a path such as /packages", pattern=rf"/*(?:{_SEGMENT}(?:/{_SEGMENT})*)?/*")
]
Url = Annotated[
    str, _text_meta("a URL such as https://a.example, without a password", accepts=is_url)
]
IndexUrl = Annotated[str, _text_meta(_INDEX_URL, accepts=is_url)]
Collector = Annotated[str, _text_meta(_COLLECTOR, accepts=_is_collector)]
FileName = Annotated[str, _text_meta("the path of a file", pattern=r"[^\x00]*")]
Ascii = Annotated[str, _text_meta("ASCII without spaces", pattern=r"[\x21-\x7e]*")]
Location = Annotated[
    str, _text_meta(f"a folder without ~, {BUCKET_FORMS}, or memory:", accepts=_is_location)
]
Apart = Annotated[
    str, _text_meta(f"a folder, {BUCKET_FORMS}", pattern=r"(?!memory:\Z).*", accepts=_is_location)
]
Bucket = Annotated[str, _text_meta(BUCKET_FORMS, accepts=_is_bucket)]
WholeBucket = Annotated[
    str, _text_meta("a bucket as a whole, gs://BUCKET", accepts=_is_whole_bucket)
]
Title = Annotated[str, _text_meta("1 to 60 characters on one line", pattern=_TITLE)]
Colour = Annotated[str, _text_meta("a colour such as #1b62b5", pattern="#[0-9A-Fa-f]{6}")]
Label = Annotated[str, _text_meta("up to 40 letters, digits, dots and hyphens", pattern=_LABEL)]
Root = Annotated[str, _text_meta("names (a-z, 0-9 and -) that are no path here", accepts=_is_root)]
RightIndex = Annotated[str, _text_meta("names of indexes, or *", accepts=parse_right_index)]
IndexName = Annotated[str, _text_meta("names of indexes", accepts=_is_index_name)]
Name = Annotated[str, _text_meta("names, or beginnings such as acme-*", accepts=parse_pattern)]
Host = Annotated[str, _text_meta("hosts such as a.example or a.example:8443", accepts=_is_host)]
Domain = Annotated[str, _text_meta("domains such as acme.dev", pattern=_DOMAIN)]
Audience = Annotated[
    str, _text_meta("1 to 500 characters, ASCII without spaces", pattern=_AUDIENCE)
]
Issuer = Annotated[
    str, _text_meta("URLs of issuers, such as https://gitlab.acme.dev", accepts=is_url)
]
Network = Annotated[str, _text_meta("networks such as 10.0.0.0/8", accepts=ip_network)]
JobAudiences = Annotated[tuple[Audience, ...], Meta(max_length=5, description=_JOBS)]
