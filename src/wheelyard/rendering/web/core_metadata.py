"""
Core metadata as people read them: dependencies by extra, links with their kind, and install lines.

On a page, people choose the extras and the versions that the install lines ask for, by a form whose
fields are in the query:

    ?extras=cli&extras=docs&pin=compatible    or ?extras=cli,docs&pin=compatible

The script of the pages makes the same lines without the server.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
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
_PYTHON_TEMPLATES: Final = {
    "==": "Python {}",
    "!=": "not Python {}",
    ">=": "Python {} or newer",
    ">": "Python newer than {}",
    "<=": "Python {} or older",
    "<": "Python older than {}",
    "~=": "Python compatible with {}",
}
_SYSTEM_NAMES: Final = {
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
_SHORT_REQUIREMENT: Final = 200
"""Characters of the longest requirement that stays in memory once it is parsed."""
_IMPLEMENTATION_NAMES: Final = {"cpython": "CPython", "pypy": "PyPy"}
_WORDS_BY_VARIABLE: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "sys_platform": ("{}", _SYSTEM_NAMES),
    "platform_system": ("{}", _SYSTEM_NAMES),
    "os_name": ("{}", _SYSTEM_NAMES),
    "platform_machine": ("{} processors", {}),
    "platform_python_implementation": ("{}", _IMPLEMENTATION_NAMES),
    "implementation_name": ("{}", _IMPLEMENTATION_NAMES),
    "extra": ("with the extra {}", {}),
}
"""For each variable of a marker that has no order: a template, and names for its values."""
_MIRRORED_OPERATORS: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}

TEXT_LIMIT: Final = 200
"""Characters of a text of metadata that pages show, but for names of people."""
_LABEL_NOISE: Final = re.compile(r"[\W_]+")
_LABELS_BY_KIND: Final = {
    "Home page": "homepage home website site",
    "Source code": "source sourcecode repository repo code github gitlab bitbucket vcs scm",
    "Documentation": "documentation docs doc manual guide",
    "Changes": "changelog changes whatsnew history news",
    "Release notes": "releasenotes releases",
    "Issues": "issues bugs issue tracker issuetracker bugtracker bugreports bug",
    "Download": "download",
    "Funding": "funding sponsor sponsors donate donation donations",
}
"""The labels of each kind of link: those of the specification (PEP 753), and other usual ones."""
_KIND_BY_LABEL: Final = {
    label: kind for kind, labels in _LABELS_BY_KIND.items() for label in labels.split()
}
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
"""The ways in which an install line may ask for a version."""
MAX_EXTRAS: Final = 100
"""The most extras that a page offers."""
EXTRAS_IN_SHORT: Final = 6
"""The most extras that a page shows unfolded."""
_EXTRA_NAME: Final = re.compile("[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_COMPATIBLE_NUMBERS: Final = 2
"""The fewest numbers of a version behind `~=` (PEP 440)."""


class Dependency(Struct, frozen=True):
    """A requirement as a page shows it."""

    name: NormalizedName
    """The name of the required project, or an empty text if the requirement is malformed."""
    spelling: str
    """The name as the requirement spells it, with extras, or the whole malformed requirement."""
    versions: str
    """The versions or the URL that the requirement asks for, perhaps empty."""
    condition: str
    """When the project is required, in words, or an empty text for always."""
    extras: tuple[str, ...]
    """The extras that the requirement is for, or none if it is for every installation."""

    @property
    def in_words(self) -> str:
        """The whole requirement in one line."""
        words = self.spelling
        if self.versions:
            words += f" {self.versions}"
        if self.condition:
            words += f", only for {self.condition}"
        if self.extras:
            words += f", with the extra {' or '.join(self.extras)}"
        return words


def dependency_groups(
    requirements: Iterable[str], extras: Iterable[str]
) -> Mapping[str, tuple[Dependency, ...]]:
    """
    Return the dependencies of a release by extra.

    The dependencies of every installation come first, under an empty text; without any, there is no
    such key. `extras` are all extras of the release, of which some may require nothing.
    """
    dependencies_by_extra: dict[str, list[Dependency]] = {"": []}
    for extra in extras:
        dependencies_by_extra[extra] = []
    for text in requirements:
        dependency = parse_dependency(text)
        for extra in dependency.extras or ("",):
            # metadata may name an extra in a marker alone
            dependencies_by_extra.setdefault(extra, []).append(dependency)
    if not dependencies_by_extra[""]:
        del dependencies_by_extra[""]
    return {extra: tuple(group) for extra, group in dependencies_by_extra.items()}


def parse_dependency(text: str) -> Dependency:
    """Return a requirement (PEP 508) in words, or a malformed requirement as it is."""
    if len(text) <= _SHORT_REQUIREMENT:
        return _parse_remembered(text)
    # a stranger's release may have thousands of long requirements, which must not fill the memory
    return _parse(text)


def _parse(text: str) -> Dependency:
    """Return a requirement (PEP 508) in words, or a malformed requirement as it is."""
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
    # in reverse, as `<2` would else come before `>=1`
    specifiers = sorted(map(str, parsed.specifier), reverse=True)
    versions = ", ".join(specifiers)
    if parsed.url:
        versions = f"@ {parsed.url}"
    return Dependency(canonicalize_name(parsed.name), spelling, versions, condition, extras)


_parse_remembered = lru_cache(4096)(_parse)  # many releases have the same requirements


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
        return tuple(extras), _describe_marker(" and ".join(conditions))
    return (), _describe_marker(marker)


def _has_outer_or(marker: str) -> bool:
    """Return whether a marker has an `or` outside of all parentheses."""
    depth = 0
    # by quoted texts, which may have any words, by parentheses, and by what is between them
    for piece in re.split(r'("[^"]*"|[()])', marker):
        is_quoted = piece.startswith('"')
        if piece == "(":
            depth += 1
        elif piece == ")":
            depth -= 1
        elif depth == 0 and not is_quoted and " or " in f"{piece} ":
            return True
    return False


def _describe_marker(marker: str) -> str:
    """Return a marker in words. A comparison for which there are no words stays as it is."""
    words = _COMPARISON.sub(_describe_comparison, marker)
    if words.startswith("(") and words.find(")") == len(words) - 1:
        # the only pair of parentheses is around the whole marker
        return words[1:-1]
    return words


def _describe_comparison(match: re.Match[str]) -> str:
    """Return a match of `_COMPARISON` in words, or as it is if there are no words for it."""
    name = match["name"]
    operator = match["operator"]
    value = match["value"]
    if name is None:
        # the value stands first, as in `"3.9" <= python_version`
        name = match["right"]
        operator = match["reverse"]
        value = match["left"]
        operator = _MIRRORED_OPERATORS.get(operator, operator)
    if name in {"python_version", "python_full_version"} and operator in _PYTHON_TEMPLATES:
        return _PYTHON_TEMPLATES[operator].format(value)
    if name not in _WORDS_BY_VARIABLE or operator not in {"==", "!="}:
        return match[0]
    template, names_of_values = _WORDS_BY_VARIABLE[name]
    value_in_words = names_of_values.get(value.lower(), value)
    words = template.format(value_in_words)
    if operator == "!=":
        return f"not {words}"
    return words


class WebLink(NamedTuple):
    """A URL in core metadata, of any scheme."""

    text: str
    kind: str
    """
    What the URL leads to, in words.

    Empty if that is not known, or if `text` says as much.
    """
    host: str
    url: str


def project_links(core: CoreMetadata) -> Iterator[WebLink]:
    """Yield the project URLs of a release and its two older fields for URLs, each URL once."""
    older_fields = (("Home page", core.home_page), ("Download", core.download_url))
    labels: dict[str, str] = {}
    for label, url in (*core.project_urls, *older_fields):
        if url:
            # build tools write a URL into an older field as well, whose label says less
            labels.setdefault(url, label)
    for url, label in labels.items():
        yield _web_link(label[:TEXT_LIMIT], url)


def _web_link(label: str, url: str) -> WebLink:
    """Return the link for a URL of metadata, which may be malformed, and its label."""
    try:
        host = (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        host = ""
    if _comparable_label(label) in _KIND_BY_LABEL:
        # the label says the kind already
        return WebLink(label, "", host, url)
    last_two_labels = host.split(".")[-2:]
    kind = _KIND_BY_HOST.get(".".join(last_two_labels), "")
    text = label or kind or host or url[:TEXT_LIMIT]
    if _comparable_label(kind).startswith(_comparable_label(text)):
        # the label Source is the beginning of the kind Source code
        kind = ""
    return WebLink(text, kind, host, url)


def _comparable_label(text: str) -> str:
    """Return a label in the form in which labels are compared (PEP 753): letters in lower case."""
    return _LABEL_NOISE.sub("", text).casefold()


class InstallChoice(Struct, frozen=True):
    """The extras and the way to ask for a version that the viewer has chosen on a page."""

    extras: frozenset[str] = frozenset()
    """Normalised names, also of extras that the release does not have."""
    pin: str = ""
    """One of `PINS`, or an empty text for the usual one of the page."""


NO_CHOICE: Final = InstallChoice()


class VersionChip(Struct, frozen=True):
    """A way in which an install line may ask for a version."""

    value: str
    """One of `PINS`."""
    text: str
    """The text behind the name of the project, such as `==1.0`, or an empty text."""


class InstallLine(Struct, frozen=True, kw_only=True):
    """What the install lines of a page ask for, and what people can choose instead."""

    name: NormalizedName
    pins: Sequence[VersionChip]
    """The ways to ask for a version that the page offers."""
    pin: VersionChip
    """The chosen one of `pins`."""
    extras: Sequence[str]
    """The extras that the page offers."""
    chosen: Sequence[str]
    """The chosen ones of `extras`."""

    @property
    def package(self) -> str:
        """The name of the project, with the chosen extras in brackets if there are any."""
        return with_extras(self.name, self.chosen)

    @property
    def requirement(self) -> str:
        """The requirement to install, quoted for a shell."""
        text = f"{self.package}{self.pin.text}"
        # shells replace an exclamation mark within double quotes, too
        if "!" in text:
            return f"'{text}'"
        # brackets and tildes are patterns of filenames in a shell
        if "[" in text or "~" in text:
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
    def unfolded_extras(self) -> Sequence[str]:
        """The extras that the page always shows."""
        return self.extras[:EXTRAS_IN_SHORT]

    @property
    def folded_extras(self) -> Sequence[str]:
        """The extras that people have to unfold."""
        return self.extras[EXTRAS_IN_SHORT:]

    @property
    def is_unfolded(self) -> bool:
        """Whether the page shows `folded_extras` from the first, as one of them was chosen."""
        return not set(self.folded_extras).isdisjoint(self.chosen)


def parse_extras(text: str) -> frozenset[str]:
    """Return the normalised names of extras in a text that has commas between them."""
    names = frozenset(canonicalize_name(extra.strip()) for extra in text.split(","))
    return names - {""}


def with_extras(name: NormalizedName, extras: Sequence[str]) -> str:
    """Return the name of a project, with extras in brackets if there are any."""
    if not extras:
        return name
    return f"{name}[{','.join(extras)}]"


def known_extras(provides_extra: Iterable[str], chosen: Container[str]) -> list[str]:
    """Return the chosen extras that a release has and that a command may have."""
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
    Return what the install lines of a page ask for, and what people can choose instead.

    The lines ask for the version in the way `choice.pin`. If that is empty, or the version cannot
    have that pin, they ask in the `usual` way: `LATEST` or `EXACT`, which every version can have.
    The page offers the first `MAX_EXTRAS` of the extras that a command may name. Chosen extras that
    it does not offer are left out.
    """
    extras = _offered_extras(provides_extra)
    pins = _offered_pins(version)
    pin_by_value = {pin.value: pin for pin in pins}
    return InstallLine(
        name=name,
        pins=pins,
        pin=pin_by_value.get(choice.pin) or pin_by_value[usual],
        extras=extras,
        chosen=known_extras(extras, choice.extras),
    )


def _offered_extras(provides_extra: Iterable[str]) -> list[str]:
    """Return the first `MAX_EXTRAS` extras that a command may have."""
    # old metadata may have any text, and people paste the line into a shell
    extras = [extra for extra in provides_extra if _EXTRA_NAME.fullmatch(extra)]
    return extras[:MAX_EXTRAS]


def _offered_pins(version: str) -> list[VersionChip]:
    """Return the ways in which an install line can ask for a version."""
    pins = [VersionChip(LATEST, ""), VersionChip(EXACT, f"=={version}")]
    parsed = listed_version(version)
    if len(parsed.release) >= _COMPATIBLE_NUMBERS:
        # `~=` takes no local version (PEP 440)
        pins.append(VersionChip(COMPATIBLE, f"~={parsed.public}"))
    return pins
