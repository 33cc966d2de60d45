"""Who may read which project, and for whom an answer may be kept."""

from dataclasses import dataclass
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Forbidden, NotFound, WheelyardError
from wheelyard.http.protocol.messages import Header
from wheelyard.model.access import Action, Caller, Pattern, matches_any
from wheelyard.model.distribution_filename import parse_name

VARY: Final[Header] = (b"vary", b"Accept, Accept-Encoding")
VARY_BY_CALLER: Final[Header] = (b"vary", b"Accept, Accept-Encoding, Authorization")
VARY_FILE: Final[Header] = (b"vary", b"Authorization")
PRIVATE_PAGE: Final[Header] = (b"cache-control", b"private, no-cache")
PRIVATE_FILE: Final[Header] = (b"cache-control", b"private, max-age=31536000, immutable")
PUBLIC_FILE: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """The readers of an index; patterns decide, never what exists."""

    anonymous: Caller
    """Who sends no credential."""
    private_patterns: tuple[Pattern, ...]
    public_max_age: int
    """Seconds that a CDN may keep a public page; for 0 it asks each time."""

    def is_public(self, name: NormalizedName | None = None) -> bool:
        """Return whether anybody may read a project, or all of them."""
        if name is None:
            return self.anonymous.may_everywhere(Action.READ)
        return self.anonymous.may(Action.READ, name)

    def page_cache_headers(self, *, is_public: bool) -> tuple[Header, ...]:
        """Return for whom a page may be kept, and how long."""
        if not is_public:
            return (VARY_BY_CALLER, PRIVATE_PAGE)
        kept = f"max-age={self.public_max_age}" if self.public_max_age else "no-cache"
        return (VARY, (b"cache-control", f"public, {kept}".encode()))

    def file_cache_headers(self, name: NormalizedName) -> tuple[Header, ...]:
        """Return for whom a file may be kept, for ever."""
        return (PUBLIC_FILE,) if self.is_public(name) else (PRIVATE_FILE, VARY_FILE)

    def require_project_read(self, caller: Caller, name: NormalizedName) -> None:
        """Raise Unauthenticated, Forbidden or NotFound unless `caller` may read `name`."""
        if caller.may(Action.READ, name):
            return
        if caller.is_anonymous:
            raise invalid_credential()
        if matches_any(self.private_patterns, name):
            message = f"{caller.display_name} may not read {name!r}."
            raise Forbidden(f"{message} Use a credential that may.", short=message)
        raise project_not_found(name)


def require_any_read(caller: Caller) -> None:
    """
    Raise Unauthenticated if nobody in particular asks, and nothing is for anybody.

    Whoever is known, and may read nothing, finds an empty index.
    """
    if caller.is_anonymous and not caller.may_anywhere(Action.READ):
        raise invalid_credential()


def parse_project_name(asked: str) -> NormalizedName:
    """Return the project that a segment of a path names, or raise NotFound."""
    try:
        return parse_name(asked)
    except WheelyardError as error:
        raise NotFound(error.message, short="No such project.") from error


def project_not_found(name: str) -> NotFound:
    """Return the fault for what is not there, or not for this caller."""
    return NotFound(
        f"There is no project {name[:60]!a} here, or your credential may not read it. "
        "Check the spelling and the credential.",
        short="No such project.",
    )
