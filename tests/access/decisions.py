"""
What the decision matrix says: which answer somebody gets who asks for something of a project.

`status_of` is the table of the reference, section 7, as the design and the wire contract amend it:
a 405 and a 403 for an upload come before its body is read, and where nobody may read anything
unnamed, every path is 401 to the anonymous.
"""

from dataclasses import dataclass

from tests.access.people import (
    ADMIN,
    ANONYMOUS,
    INVALID,
    PUBLISHER,
)
from tests.access.places import (
    EXISTING,
    MANAGERS,
    READERS,
    UPLOADERS,
    Place,
    digest,
)

WRITERS = {UPLOADERS, MANAGERS, ADMIN, PUBLISHER}


@dataclass(frozen=True)
class Ask:
    """One way to ask about a project: a path, and what it is answered with if one may read."""

    path: str
    found: int = 200
    """The status if the project is there."""
    missing: int = 404
    """The status if it is not."""
    depends_on_name: bool = True
    """Whether the decision is about the name at all."""


def reads(place: Place, name: str) -> dict[str, Ask]:
    """Return every route that shows something of a project, in every spelling of its URL."""
    package = place.packages[name]
    sha, file = digest(package), package.filename
    odd = name.replace("-", "_").title()
    escaped = f"%{ord(name[0]):x}{name[1:]}"
    return {
        "page": Ask(f"/simple/{name}/"),
        "page, query": Ask(f"/simple/{name}/?format=application/vnd.pypi.simple.v1%2Bjson"),
        "page, slashes": Ask(f"//simple///{name}//"),
        "page, escaped": Ask(f"/simple/{escaped}/"),
        "page, other spelling": Ask(f"/simple/{odd}/", 301, 301),
        "page, +simple": Ask(f"/+simple/{name}/"),
        "page, of Hatch": Ask(f"/legacy/%2Bsimple/{name}/"),
        "page, pypi": Ask(f"/pypi/{name}/"),
        "page, pypi/simple": Ask(f"/pypi/simple/{name}/"),
        "page, own root": Ask(f"/acme/{name}/"),
        "page, root": Ask(f"/{name}/", *((301, 301) if place.prefix else (200, 404))),
        "file": Ask(f"/files/{name}/{sha}/{file}"),
        "file, below a root": Ask(f"/simple/files/{name}/{sha}/{file}"),
        "file, slashes": Ask(f"//files//{name}//{sha}/{file}"),
        "file, escaped": Ask(f"/files/{escaped}/{sha}/{file}"),
        "file, other spelling": Ask(f"/files/{odd}/{sha}/{file}", 404),
        "file, slash behind": Ask(f"/files/{name}/{sha}/{file}/", 404, depends_on_name=False),
        "file, another digest": Ask(f"/files/{name}/{'0' * 64}/{file}", 404),
        "file by name": Ask(f"/files/{name}/{file}"),
        "file by name, other spelling": Ask(f"/files/{odd}/{file}"),
        "file that is none": Ask(f"/files/{name}/{name}.txt", 404),
        "file of old": Ask(f"/packages/ab/cd/{file}"),
        "metadata": Ask(f"/files/{name}/{sha}/{file}.metadata"),
        "metadata by name": Ask(f"/files/{name}/{file}.metadata"),
        "metadata of old": Ask(f"/packages/{file}.metadata"),
        "JSON": Ask(f"/pypi/{name}/json"),
        "JSON, slash": Ask(f"/pypi/{name}/json/"),
        "JSON, other spelling": Ask(f"/pypi/{odd}/json"),
        "JSON of a release": Ask(f"/pypi/{name}/1.0/json"),
        "JSON of no release": Ask(f"/pypi/{name}/7.0/json", 404),
        "JSON of no version": Ask(f"/pypi/{name}/not-a-version/json", 404),
        "API": Ask(f"/api/v1/projects/{name}"),
        "API, other spelling": Ask(f"/api/v1/projects/{odd}"),
        "journal": Ask(f"/api/v1/projects/{name}/journal"),
        "journal, later": Ask(f"/api/v1/projects/{name}/journal?after=1"),
        "page for people": Ask(f"/project/{name}/"),
        "page for people, other spelling": Ask(f"/project/{odd}/", 301, 301),
    }


def may_read(role: str, name: str, *, is_open: bool) -> bool:
    """Return whether somebody may read a project."""
    is_public = is_open and name.startswith("open") and role != INVALID
    return is_public or role in {READERS, *WRITERS}


def status_of(role: str, name: str, ask: Ask, *, is_open: bool) -> int:
    """Return what somebody gets who asks for something of a project."""
    kind, exists = name.partition("-")[0], name in EXISTING
    if role == INVALID:
        return 401
    if not ask.depends_on_name:
        return 401 if role == ANONYMOUS and not is_open else 404
    if may_read(role, name, is_open=is_open):
        return ask.found if exists else ask.missing
    if role == ANONYMOUS:
        return 401
    return 403 if kind == "secret" else 404
