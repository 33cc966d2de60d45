"""
What a path leads to: every route of the index, as a value, and the methods that a path takes.

The index answers under `/simple/`, `/pypi/simple/`, `/pypi/`, `/` and the configured roots; Hatch
adds `+simple/` to whatever upload URL it has. A file is at its object's key, which a page links to
relatively, so every root also has its own `files/`. `/<name>/` is the root alias where nothing
fixed stands; only `simple`, `pypi` and `legacy` cannot be projects.
"""

from dataclasses import dataclass
from typing import Final

from wheelyard.http.paths import Path

READ: Final = ("GET", "HEAD")
POST: Final = ("POST",)
DELETE: Final = ("DELETE",)
METHODS: Final = (*READ, *POST, *DELETE)
"""Every method that some route takes; OPTIONS is answered for all of them."""


@dataclass(frozen=True, slots=True)
class ProjectList:
    """The list of projects, at an index root."""

    allowed: tuple[str, ...] = READ
    is_home: bool = False
    """Whether people get a page for people here."""


@dataclass(frozen=True, slots=True)
class ProjectDetail:
    """A project's page; the name is as asked, not parsed yet."""

    name: str
    root: tuple[str, ...]
    """The segments before the name."""
    allowed: tuple[str, ...] = READ
    is_root_alias: bool = False


@dataclass(frozen=True, slots=True)
class FileByKey:
    """A file, by its object's key."""

    project: str
    sha256: str
    filename: str
    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class FileByName:
    """A file by its name alone, as older systems link to theirs."""

    filename: str
    project: str | None = None
    """As asked, where the path says it."""
    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class LegacyJson:
    """PyPI's JSON about a project, or about one release."""

    name: str
    version: str | None = None
    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class ProjectPage:
    """The page for people about a project."""

    name: str
    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class Api:
    """A route of the documented API."""

    segments: tuple[str, ...]
    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """A place that takes uploads and shows nothing of its own."""

    root: str = ""
    """The configured root that it is, if it is one."""
    allowed: tuple[str, ...] = POST


@dataclass(frozen=True, slots=True)
class Fixed:
    """A small route that is open to everybody."""

    name: str
    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class Exchange:
    """A step of trusted publishing, at the root of the host; open to everybody."""

    step: str
    """`audience`, `mint`, `burn` or `discovery`."""
    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class Metrics:
    """What Prometheus reads."""

    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class Search:
    """What the page for people searches in."""

    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class AddSlash:
    """The path of a page without its slash."""

    allowed: tuple[str, ...] = READ


@dataclass(frozen=True, slots=True)
class Nothing:
    """A path that leads nowhere."""

    allowed: tuple[str, ...] = ()


Route = (
    ProjectList
    | ProjectDetail
    | FileByKey
    | FileByName
    | LegacyJson
    | ProjectPage
    | Api
    | Upload
    | Fixed
    | Exchange
    | Metrics
    | Search
    | AddSlash
    | Nothing
)

Known = Fixed | Exchange | Metrics | Search

_EXCHANGE: Final[dict[tuple[str, ...], Exchange]] = {
    ("_", "oidc", "audience"): Exchange("audience"),
    ("_", "oidc", "mint-token"): Exchange("mint", POST),
    ("_", "oidc", "github", "mint-token"): Exchange("mint", POST),
    ("_", "oidc", "burn-token"): Exchange("burn", POST),
    (".well-known", "pytp"): Exchange("discovery"),
}
_FIXED: Final[dict[tuple[str, ...], Known]] = {
    **_EXCHANGE,
    ("health",): Fixed("health"),
    ("ready",): Fixed("ready"),
    ("metrics",): Metrics(),
    ("search.json",): Search(),
    ("favicon.ico",): Fixed("absent"),
    ("robots.txt",): Fixed("absent"),
}
_UPLOAD_PATHS: Final = frozenset({(), ("legacy",), ("simple",), ("pypi",)})
_OLD_FILE_ROOTS: Final = frozenset({"packages", "raw"})
_HATCH_ROOT: Final = "+simple"
_AT_THE_ROOT: Final = frozenset(f"/{'/'.join(each)}".encode() for each in _EXCHANGE)


def prefix_of(raw_path: bytes, prefix: str) -> str:
    """
    Return what stands before the route in a raw path: `prefix`, or nothing.

    Clients ask for the steps of trusted publishing at the root of the host, wherever the upload
    URL is.
    """
    return "" if raw_path in _AT_THE_ROOT else prefix


def is_change(route: Route, method: str) -> bool:
    """Return whether a request changes anything that a browser could be made to change."""
    return isinstance(route, Upload | Api) and method not in ("GET", "HEAD")


def route_of(path: Path, method: str, roots: frozenset[str]) -> Route:
    """
    Return what `path` leads to; `roots` are the configured ones.

    Where a path does not take the method, it is a route that does not allow it.
    """
    return _upload_route(path, roots) if method == "POST" else _read_route(path, roots)


def methods_at(path: Path, roots: frozenset[str]) -> tuple[str, ...]:
    """Return every method that `path` takes, none where it leads nowhere."""
    found = tuple(each for each in METHODS if each in route_of(path, each, roots).allowed)
    return (*found, "OPTIONS") if found else ()


def _upload_route(path: Path, roots: frozenset[str]) -> Route:
    """Return where a POST leads: besides the fixed routes, any single segment takes uploads."""
    segments = path.segments
    fixed = _fixed(path)
    if fixed is not None:
        return fixed
    if segments == ("RPC2",):
        return Fixed("xml-rpc", POST)
    if segments in _UPLOAD_PATHS:
        return Upload()
    if len(segments) == 1:
        return Upload(segments[0] if segments[0] in roots else "")
    # what can be read but not written is 405, not 404
    return _read_route(path, roots)


def _read_route(path: Path, roots: frozenset[str]) -> Route:
    segments = path.segments
    fixed = _fixed(path)
    if fixed is not None:
        return fixed
    if segments == ("legacy",):
        return Fixed("upload-url")
    if segments[:2] == ("api", "v1") and len(segments) > len(("api", "v1")):
        return _api(segments[2:])
    for find in (_legacy_json, _file):
        found = find(segments)
        if found is not None:
            return found if isinstance(found, LegacyJson) or not path.ends_with_slash else Nothing()
    if segments[:1] == ("project",) and len(segments) == len(("project", "name")):
        return ProjectPage(segments[1]) if path.ends_with_slash else AddSlash()
    return _index_route(path, roots)


def _fixed(path: Path) -> Known | None:
    """Return the fixed route at exactly this path."""
    return None if path.ends_with_slash else _FIXED.get(path.segments)


def _api(segments: tuple[str, ...]) -> Api | Nothing:
    """Return the route of the API that these segments name, behind its version."""
    match segments:
        case ("whoami",) | ("projects",) | ("projects", _) | ("projects", _, "journal"):
            return Api(segments, READ)
        case ("projects", _, "yank" | "unyank" | "delete" | "status"):
            return Api(segments, POST)
        case ("tokens",):
            return Api(segments, (*READ, *POST))
        case ("tokens", "self", "revoke"):
            return Api(segments, POST)
        case ("tokens", _):
            return Api(segments, DELETE)
        case _:
            return Nothing()


def _legacy_json(segments: tuple[str, ...]) -> LegacyJson | None:
    match segments:
        case ("pypi", name, "json") if name != "simple":
            return LegacyJson(name)
        case ("pypi", name, version, "json") if name != "simple":
            return LegacyJson(name, version)
        case _:
            return None


def _file(segments: tuple[str, ...]) -> FileByKey | FileByName | None:
    match segments:
        case (
            ("files", project, sha256, filename)
            | (_, "files", project, sha256, filename)
            | ("pypi", "simple", "files", project, sha256, filename)
        ):
            return FileByKey(project, sha256, filename)
        case ("files", project, filename):
            return FileByName(filename, project)
        case (root, *_, filename) if root in _OLD_FILE_ROOTS and len(segments) > 1:
            return FileByName(filename)
        case _:
            return None


def _index_route(path: Path, roots: frozenset[str]) -> Route:
    root, rest = _split_root(path.segments, roots)
    if len(rest) > 1:
        return Nothing()
    if not path.ends_with_slash:
        return AddSlash()
    if not rest:
        return ProjectList(is_home=not root)
    return ProjectDetail(rest[0], root, is_root_alias=not root)


def _split_root(
    segments: tuple[str, ...], roots: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the segments of the index root, and those behind it."""
    match segments:
        case (first, second, *_) if second == _HATCH_ROOT or (first, second) == ("pypi", "simple"):
            return segments[:2], segments[2:]
        case (first, *_) if first in {"simple", "pypi", _HATCH_ROOT} or first in roots:
            return segments[:1], segments[1:]
        case _:
            return (), segments
