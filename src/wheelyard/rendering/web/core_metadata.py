"""Core metadata as people read it: dependencies by extra, people, and links with their kind."""

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.model.metadata import CoreMetadata

_COMPARISON: Final = re.compile(
    r'(?P<name>[a-z_]+) (?P<operator>[!=<>~]=?=?|in|not in) "(?P<value>[^"]*)"'
    r'|"(?P<left>[^"]*)" (?P<reverse>[!=<>~]=?=?|in|not in) (?P<right>[a-z_]+)'
)
"""A comparison in a marker, as `packaging` writes it."""
_EXTRA: Final = re.compile(r'\(?extra == "([^"]*)"\)?')
_PYTHON: Final = {
    "==": "Python {}",
    "!=": "not Python {}",
    ">=": "Python {} or newer",
    ">": "Python newer than {}",
    "<=": "Python {} or older",
    "<": "Python older than {}",
    "~=": "Python compatible with {}",
}
_SYSTEMS: Final = {
    "win32": "Windows",
    "windows": "Windows",
    "nt": "Windows",
    "darwin": "macOS",
    "linux": "Linux",
    "linux2": "Linux",
    "posix": "Unix",
    "emscripten": "Emscripten",
    "cygwin": "Cygwin",
    "ios": "iOS",
    "android": "Android",
}
_SHORT: Final = 200
"""Characters of the longest requirement that is remembered."""
_IMPLEMENTATIONS: Final = {"cpython": "CPython", "pypy": "PyPy"}
_WORDS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "sys_platform": ("{}", _SYSTEMS),
    "platform_system": ("{}", _SYSTEMS),
    "os_name": ("{}", _SYSTEMS),
    "platform_machine": ("{} processors", {}),
    "platform_python_implementation": ("{}", _IMPLEMENTATIONS),
    "implementation_name": ("{}", _IMPLEMENTATIONS),
    "extra": ("with the extra {}", {}),
}
"""For each variable of a marker that is only compared for equality: the words for its values."""
_MIRRORED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class Dependency(Struct, frozen=True):
    """A requirement as a page shows it."""

    name: NormalizedName
    """The name of the required project, or an empty text if the requirement is malformed."""
    shown: str
    """The name as the requirement spells it, with extras, or the whole malformed requirement."""
    versions: str
    """The versions or the URL that it asks for, perhaps empty."""
    condition: str
    """When it is needed, in words, or an empty text for always."""
    extras: tuple[str, ...]
    """The extras that it belongs to, or none if it is needed in any case."""


def dependency_groups(
    requirements: Iterable[str], extras: Iterable[str]
) -> Mapping[str, tuple[Dependency, ...]]:
    """
    Return the dependencies of a release by extra: those of no extra under an empty text, first.

    `extras` are all extras of the release, of which some may need nothing.
    """
    groups: dict[str, list[Dependency]] = {"": [], **{extra: [] for extra in extras}}
    for text in requirements:
        dependency = parse_dependency(text)
        for extra in dependency.extras or ("",):
            groups.setdefault(extra, []).append(dependency)
    return {extra: tuple(group) for extra, group in groups.items() if extra or group}


def parse_dependency(text: str) -> Dependency:
    """Return a requirement (PEP 508) in words, or as it is if it is malformed."""
    return _parse_known(text) if len(text) <= _SHORT else _parse(text)


def _parse(text: str) -> Dependency:
    try:
        parsed = Requirement(text)
        marker = str(parsed.marker or "")
    except (InvalidRequirement, RecursionError):
        return Dependency(NormalizedName(""), text, "", "", ())
    extras, condition = _split_marker(marker)
    wanted = f"[{', '.join(sorted(parsed.extras))}]" if parsed.extras else ""
    versions = (
        f"@ {parsed.url}"
        if parsed.url
        else ", ".join(sorted(map(str, parsed.specifier), reverse=True))
    )
    return Dependency(
        canonicalize_name(parsed.name), parsed.name + wanted, versions, condition, extras
    )


_parse_known = lru_cache(4096)(_parse)  # releases have many requirements in common


def _split_marker(marker: str) -> tuple[tuple[str, ...], str]:
    """Return the extras that a marker asks for, and its other conditions in words."""
    alternatives = marker.strip("()").split(" or ")
    if all(map(_EXTRA.fullmatch, alternatives)):
        names = (_EXTRA.sub(r"\1", alternative) for alternative in alternatives)
        return tuple(map(canonicalize_name, names)), ""
    parts = marker.split(" and ")
    extras = [match for match in map(_EXTRA.fullmatch, parts) if match is not None]
    # an `or` outside of parentheses would bind less than the `and` before the extra
    if len(extras) == 1 and not _has_outer_or(marker):
        others = " and ".join(part for part in parts if _EXTRA.fullmatch(part) is None)
        return (canonicalize_name(extras[0][1]),), _in_words(others)
    return (), _in_words(marker)


def _has_outer_or(marker: str) -> bool:
    depth = 0
    for part in re.split(r'("[^"]*"|[()])', marker):
        depth += (part == "(") - (part == ")")
        if depth == 0 and " or " in f"{part} " and not part.startswith('"'):
            return True
    return False


def _in_words(marker: str) -> str:
    words = _COMPARISON.sub(_comparison_in_words, marker)
    is_enclosed = words.startswith("(") and words.find(")") == len(words) - 1
    return words[1:-1] if is_enclosed else words


def _comparison_in_words(match: re.Match[str]) -> str:
    name, operator, value = match["name"], match["operator"], match["value"]
    if name is None:
        name, operator, value = match["right"], match["reverse"], match["left"]
        operator = _MIRRORED.get(operator, operator)
    if name in {"python_version", "python_full_version"} and operator in _PYTHON:
        return _PYTHON[operator].format(value)
    if name in _WORDS and operator in {"==", "!="}:
        text, words = _WORDS[name]
        return ("not " if operator == "!=" else "") + text.format(words.get(value.lower(), value))
    return match[0]


PEOPLE_LIMIT: Final = 2000
"""Characters of a field with people that are shown."""
TEXT_LIMIT: Final = 200
"""Characters of any other text that are shown."""

_MAIL: Final = re.compile(r"[^\s@<>\"(),:;]{1,64}@[A-Za-z0-9.-]{1,255}")
_ADDRESS_TOKENS: Final = re.compile(r'=\?[^?\s]*\?[bBqQ]\?[^?\s]*\?=|"[^"]*"|<[^>]*>|[^",<=]+|.')
_ENCODED_WORDS: Final = re.compile(r"=\?[!-~]+\?=(?:\s+=\?[!-~]+\?=)*")
_ENCODED_WORD: Final = re.compile(
    r"=\?(utf-?8|us-ascii|iso-8859-[0-9]{1,2}|windows-125[0-9]|koi8-[ru]|gb2312|gbk|gb18030|big5"
    r"|euc-jp|euc-kr|shift_jis|iso-2022-jp)(?:\*[a-z-]*)?\?([bq])\?([!->@-~]*)\?=",
    re.IGNORECASE,
)
"""Python knows more encodings, of which some are for other things than texts."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LABEL_NOISE: Final = re.compile(r"[\W_]+")
_KINDS: Final = {
    "Home page": "homepage home website site",
    "Source code": "source sourcecode repository repo code github gitlab bitbucket vcs scm",
    "Documentation": "documentation docs doc manual guide",
    "Changes": "changelog changes whatsnew history news",
    "Release notes": "releasenotes releases",
    "Issues": "issues bugs issue tracker issuetracker bugtracker bugreports bug",
    "Download": "download",
    "Funding": "funding sponsor sponsors donate donation donations",
}
"""The kinds of links by their labels: those of the specification, and usual others."""
_KIND_BY_LABEL: Final = {label: kind for kind, labels in _KINDS.items() for label in labels.split()}
_KIND_BY_HOST: Final = {
    "github.com": "Source code",
    "gitlab.com": "Source code",
    "codeberg.org": "Source code",
    "bitbucket.org": "Source code",
    "readthedocs.io": "Documentation",
    "readthedocs.org": "Documentation",
}


class Contact(NamedTuple):
    """A person or a team in core metadata."""

    name: str
    mail: str
    """The URL `mailto:...`, or an empty text without a plausible address."""


class WebLink(NamedTuple):
    """A URL in core metadata, of any scheme."""

    text: str
    kind: str
    """What it leads to, in words, unless that is not known, or says no more than `text`."""
    host: str
    url: str


def people(names: str | None, mails: str | None) -> tuple[Contact, ...]:
    """Return the people of the two fields for authors, or of those for maintainers."""
    return _people((names or "")[:PEOPLE_LIMIT], (mails or "")[:PEOPLE_LIMIT])


@lru_cache(1024)  # releases have them in common
def _people(names: str, mails: str) -> tuple[Contact, ...]:
    persons = dict[str, Contact]()
    for encoded, mail in _addresses(mails):
        name = decode_words(encoded)
        if _MAIL.fullmatch(mail):
            shown = name.strip() or mail
            persons.setdefault(
                shown, Contact(shown[:TEXT_LIMIT], f"mailto:{quote(mail, safe='@')}")
            )
    # the field for mails may have names alone, and both fields the same names
    text = decode_words(names if persons else names or mails).strip()
    with_mail = {name.casefold() for name in persons}
    if text and not {part.strip().casefold() for part in text.split(",")} <= with_mail:
        return (Contact(text[:TEXT_LIMIT], ""), *persons.values())
    return tuple(persons.values())


def _addresses(text: str) -> Iterator[tuple[str, str]]:
    """
    Yield name and address of each part of a list such as `Ann <ann@x.example>, bob@x.example`.

    `email.utils` is not used: it recurses into nested comments.
    """
    name, mail = "", ""
    for part in (*_ADDRESS_TOKENS.findall(text), ","):
        if part == ",":
            yield (name.strip(), mail) if mail else ("", name.strip())
            name, mail = "", ""
        elif part.startswith("<"):
            mail = part.strip("<> ")
        else:
            name += part.strip('"') if part.startswith('"') else part


def decode_words(text: str) -> str:
    """Return `text` with its encoded words (RFC 2047) decoded, except for broken ones."""
    return _ENCODED_WORDS.sub(_decode_run, text) if "=?" in text else text


def _decode_run(run: re.Match[str]) -> str:
    """Return what is in a row of encoded words, of which two may share the bytes of a letter."""
    words = [word for text in run[0].split() if (word := _ENCODED_WORD.fullmatch(text))]
    if len(words) < len(run[0].split()):
        return run[0]
    try:
        parts = [
            b"".join(map(_decode_bytes, group)).decode(charset)
            for charset, group in groupby(words, key=lambda word: word[1].lower())
        ]
    except (ValueError, LookupError):
        return run[0]
    return _CONTROL.sub(" ", "".join(parts))


def _decode_bytes(word: re.Match[str]) -> bytes:
    """
    Return the bytes in an encoded word.

    Raises ValueError if they are no Base64.
    """
    content = word[3].encode()
    if word[2] in "bB":
        return b64decode(content + b"=" * (-len(content) % 4), validate=True)
    return a2b_qp(content, header=True)


def project_links(core: CoreMetadata) -> Iterator[WebLink]:
    """Yield the project URLs of a release, each URL once, and then the two older fields."""
    older = (("Home page", core.home_page), ("Download", core.download_url))
    seen = set[str]()
    for label, url in (*core.project_urls, *older):
        if url and url not in seen:
            seen.add(url)
            yield _link(label[:TEXT_LIMIT], url)


def _link(label: str, url: str) -> WebLink:
    try:
        host = (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        host = ""
    kind = _KIND_BY_LABEL.get(_letters(label), "")
    kind = kind or _KIND_BY_HOST.get(".".join(host.split(".")[-2:]), "")
    text = label or kind or host or url[:TEXT_LIMIT]
    is_said = _letters(kind).startswith(_letters(text))  # "Source" of "Source code"
    return WebLink(text, "" if is_said else kind, host, url)


def _letters(text: str) -> str:
    return _LABEL_NOISE.sub("", text).casefold()
