"""
Core metadata as people read it: dependencies by extra, links with their kind, and install lines.

Whoever looks at a page chooses the extras and the versions that its install lines ask for, by a
form whose fields are in the query:

    ?extras=cli&extras=docs&pin=compatible    or ?extras=cli,docs&pin=compatible

The script of the pages makes the same lines without the server.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.model.distribution_filename import listed_version
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

TEXT_LIMIT: Final = 200
"""Characters of a text that are shown, but for the names of people."""
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
LATEST: Final = "none"
EXACT: Final = "exact"
COMPATIBLE: Final = "compatible"
PINS: Final = (LATEST, EXACT, COMPATIBLE)
"""Which versions a line may ask for."""
MAX_EXTRAS: Final = 100
"""The most extras to choose from."""
EXTRAS_IN_SHORT: Final = 6
"""With more extras, the further ones are folded."""
_EXTRA_NAME: Final = re.compile("[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_RELEASE_NUMBERS: Final = 2
"""The fewest numbers of a version with which others are compatible (PEP 440)."""


class Dependency(Struct, frozen=True):
    """A requirement as a page shows it."""

    name: NormalizedName
    """The name of the required project, or an empty text if the requirement is malformed."""
    spelling: str
    """The name as the requirement spells it, with extras, or the whole malformed requirement."""
    versions: str
    """The versions or the URL that it asks for, perhaps empty."""
    condition: str
    """When it is needed, in words, or an empty text for always."""
    extras: tuple[str, ...]
    """The extras that it belongs to, or none if it is needed in any case."""

    @property
    def in_words(self) -> str:
        """All of it in one line."""
        words = " ".join(filter(None, (self.spelling, self.versions)))
        if self.condition:
            words += f", only for {self.condition}"
        if self.extras:
            words += f", with the extra {' or '.join(self.extras)}"
        return words


def dependency_groups(
    requirements: Iterable[str], extras: Iterable[str]
) -> Mapping[str, tuple[Dependency, ...]]:
    """
    Return the dependencies of a release by extra: those of no extra under an empty text, first.

    `extras` are all extras of the release, of which some may need nothing. Without dependencies of
    no extra, there is no empty text.
    """
    groups: dict[str, list[Dependency]] = {"": []}
    for extra in extras:
        groups[extra] = []
    for text in requirements:
        dependency = parse_dependency(text)
        for extra in dependency.extras or ("",):
            # metadata may name an extra in a marker alone
            groups.setdefault(extra, []).append(dependency)
    return {extra: tuple(group) for extra, group in groups.items() if extra or group}


def parse_dependency(text: str) -> Dependency:
    """Return a requirement (PEP 508) in words, or as it is if it is malformed."""
    if len(text) <= _SHORT:
        return _parse_short(text)
    # a stranger's release may have thousands of long ones: they must not fill the memory
    return _parse(text)


def _parse(text: str) -> Dependency:
    try:
        parsed = Requirement(text)
        marker = str(parsed.marker or "")
    except (InvalidRequirement, RecursionError):
        # `packaging` recurses into parentheses, of which a marker may have any number
        return Dependency(NormalizedName(""), text, "", "", ())
    extras, condition = _split_marker(marker)
    spelling = parsed.name
    if parsed.extras:
        spelling += f"[{', '.join(sorted(parsed.extras))}]"
    # the other way round `<2` would come before `>=1`
    versions = ", ".join(sorted(map(str, parsed.specifier), reverse=True))
    if parsed.url:
        versions = f"@ {parsed.url}"
    return Dependency(canonicalize_name(parsed.name), spelling, versions, condition, extras)


_parse_short = lru_cache(4096)(_parse)  # releases have many requirements in common


def _split_marker(marker: str) -> tuple[tuple[str, ...], str]:
    """Return the extras that a marker asks for, and its other conditions in words."""
    alternatives = marker.strip("()").split(" or ")
    if all(map(_EXTRA.fullmatch, alternatives)):
        names = [_EXTRA.sub(r"\1", alternative) for alternative in alternatives]
        return tuple(map(canonicalize_name, names)), ""
    extras: list[NormalizedName] = []
    conditions: list[str] = []
    for condition in marker.split(" and "):
        extra = _EXTRA.fullmatch(condition)
        if extra is None:
            conditions.append(condition)
        else:
            extras.append(canonicalize_name(extra[1]))
    # an `or` outside of parentheses would bind less than the `and` before the extra
    if len(extras) == 1 and not _has_outer_or(marker):
        return tuple(extras), _in_words(" and ".join(conditions))
    return (), _in_words(marker)


def _has_outer_or(marker: str) -> bool:
    """Return whether a marker has an `or` outside of all parentheses."""
    depth = 0
    # by quoted texts, which may have any words, by parentheses, and by what is between them
    for piece in re.split(r'("[^"]*"|[()])', marker):
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
        elif depth == 0 and " or " in f"{piece} " and not piece.startswith('"'):
            return True
    return False


def _in_words(marker: str) -> str:
    """Return the conditions of a marker in words, as far as there are words for them."""
    words = _COMPARISON.sub(_comparison_in_words, marker)
    if words.startswith("(") and words.find(")") == len(words) - 1:
        # the only pair of parentheses is around all of it
        return words[1:-1]
    return words


def _comparison_in_words(match: re.Match[str]) -> str:
    name = match["name"]
    operator = match["operator"]
    value = match["value"]
    if name is None:
        # the value stands first, as in `"3.9" <= python_version`
        name = match["right"]
        operator = match["reverse"]
        value = match["left"]
        operator = _MIRRORED.get(operator, operator)
    if name in {"python_version", "python_full_version"} and operator in _PYTHON:
        return _PYTHON[operator].format(value)
    if name not in _WORDS or operator not in {"==", "!="}:
        return match[0]
    template, words_of_values = _WORDS[name]
    words = template.format(words_of_values.get(value.lower(), value))
    if operator == "!=":
        return f"not {words}"
    return words


class WebLink(NamedTuple):
    """A URL in core metadata, of any scheme."""

    text: str
    kind: str
    """What it leads to, in words, unless that is not known, or says no more than `text`."""
    host: str
    url: str


def project_links(core: CoreMetadata) -> Iterator[WebLink]:
    """Yield the project URLs of a release, each URL once, and then the two older fields."""
    older_fields = (("Home page", core.home_page), ("Download", core.download_url))
    labels: dict[str, str] = {}
    for label, url in (*core.project_urls, *older_fields):
        if url:
            # build tools write a URL into an older field as well, whose label says less
            labels.setdefault(url, label)
    for url, label in labels.items():
        yield _link(label[:TEXT_LIMIT], url)


def _link(label: str, url: str) -> WebLink:
    """Return a URL of metadata, which may be malformed, with what it leads to."""
    try:
        host = (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        host = ""
    if _letters(label) in _KIND_BY_LABEL:  # the label says it already
        return WebLink(label, "", host, url)
    domain = ".".join(host.split(".")[-2:])
    kind = _KIND_BY_HOST.get(domain, "")
    text = label or kind or host or url[:TEXT_LIMIT]
    if _letters(kind).startswith(_letters(text)):  # "Source" of "Source code"
        kind = ""
    return WebLink(text, kind, host, url)


def _letters(text: str) -> str:
    """Return a label as labels are compared (PEP 753): without punctuation, in lower case."""
    return _LABEL_NOISE.sub("", text).casefold()


class InstallChoice(Struct, frozen=True):
    """What somebody has chosen on a page."""

    extras: frozenset[str] = frozenset()
    """Normalised names, also of extras that the release does not have."""
    pin: str = ""
    """One of `PINS`, or empty for the usual one of the page."""


NO_CHOICE: Final = InstallChoice()


class VersionChip(Struct, frozen=True):
    """A way to say which versions a line asks for."""

    value: str
    """One of `PINS`."""
    text: str
    """What stands behind the name, such as `==1.0`, or an empty text."""


class InstallLine(Struct, frozen=True, kw_only=True):
    """What install lines ask for, and what else they could ask for."""

    name: NormalizedName
    pins: Sequence[VersionChip]
    pin: VersionChip
    """The one of them that was chosen."""
    extras: Sequence[str]
    """What there is to choose from."""
    chosen: Sequence[str]

    @property
    def package(self) -> str:
        """The name with the chosen extras in brackets, if there are any."""
        return with_extras(self.name, self.chosen)

    @property
    def requirement(self) -> str:
        """What is installed, as it is written in a shell."""
        text = f"{self.package}{self.pin.text}"
        if "!" in text:  # shells replace it within double quotes, too
            return f"'{text}'"
        if "[" in text or "~" in text:  # patterns of filenames
            return f'"{text}"'
        return text

    @property
    def query(self) -> str:
        """The query of the URL of the requirements file, with its question mark if it has one."""
        if not self.chosen:
            return ""
        fields = {"extras": ",".join(self.chosen)}
        return f"?{urlencode(fields, safe=',')}"

    @property
    def named(self) -> Sequence[str]:
        """The extras that are not folded."""
        return self.extras[:EXTRAS_IN_SHORT]

    @property
    def folded(self) -> Sequence[str]:
        """The extras that are folded."""
        return self.extras[EXTRAS_IN_SHORT:]

    @property
    def is_unfolded(self) -> bool:
        """Whether one of the folded extras was chosen, so that they have to be seen."""
        return not set(self.folded).isdisjoint(self.chosen)


def parse_extras(text: str) -> frozenset[str]:
    """Return the normalised names of the extras in a text with commas between them."""
    names = frozenset(canonicalize_name(extra.strip()) for extra in text.split(","))
    return names - {""}


def with_extras(name: NormalizedName, extras: Sequence[str]) -> str:
    """Return a name with extras in brackets, if there are any."""
    if not extras:
        return name
    return f"{name}[{','.join(extras)}]"


def known_extras(provides_extra: Iterable[str], chosen: Container[str]) -> list[str]:
    """Return the chosen extras that a release has, and that may stand in a command."""
    return [extra for extra in _offered_extras(provides_extra) if extra in chosen]


def install_line(
    name: NormalizedName,
    version: str,
    provides_extra: Iterable[str],
    choice: InstallChoice,
    *,
    usual: str,
) -> InstallLine:
    """
    Return what the lines of a page ask for, which is the `usual` of `PINS` without a choice.

    The choice of a pin that the version cannot have counts as none. Extras that the release does
    not have are left out.
    """
    extras = _offered_extras(provides_extra)
    pins = _pins(version)
    by_value = {pin.value: pin for pin in pins}
    return InstallLine(
        name=name,
        pins=pins,
        pin=by_value.get(choice.pin) or by_value[usual],
        extras=extras,
        chosen=known_extras(extras, choice.extras),
    )


def _offered_extras(provides_extra: Iterable[str]) -> list[str]:
    """Return the extras to choose from: those that may stand in a command."""
    # old metadata may have any text, and people paste the line into a shell
    extras = filter(_EXTRA_NAME.fullmatch, provides_extra)
    return list(islice(extras, MAX_EXTRAS))


def _pins(version: str) -> list[VersionChip]:
    pins = [VersionChip(LATEST, ""), VersionChip(EXACT, f"=={version}")]
    parsed = listed_version(version)
    if len(parsed.release) >= _RELEASE_NUMBERS:
        # `~=` takes no local version (PEP 440)
        pins.append(VersionChip(COMPATIBLE, f"~={parsed.public}"))
    return pins
