"""What an example of an operation says: what is there before, the call, and what comes of it."""

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from wheelyard.api.operation import ApiOperation
from wheelyard.api.table import ROWS

Json = Mapping[str, Any]
NOTHING: Final[Json] = MappingProxyType({})


class Role(Enum):
    """Somebody with some of the rights on `demo*`, by the name in the htpasswd file."""

    ANONYMOUS = ""
    STRANGER = "stranger"
    READER = "reader"
    UPLOADER = "uploader"
    MANAGER = "manager"
    APPROVER = "approver"
    ADMIN = "admin"


EVERYBODY: Final = frozenset(Role)
CALLERS: Final = EVERYBODY - {Role.ANONYMOUS}
ADMINISTRATORS: Final = frozenset({Role.ADMIN})
MANAGERS: Final = ADMINISTRATORS | {Role.MANAGER}
UPLOADERS: Final = MANAGERS | {Role.UPLOADER}
READERS: Final = UPLOADERS | {Role.READER}
APPROVERS: Final = ADMINISTRATORS | {Role.APPROVER}


class Request(Struct, frozen=True):
    """A call of an operation: its function, the arguments of its path, its body or query."""

    operation: Callable[..., Any]
    arguments: Mapping[str, str] = NOTHING
    body: Json = NOTHING
    index: str = ""
    """The name of the index, or an empty text for main."""

    @property
    def row(self) -> ApiOperation:
        """The row of the operation in the table of the API."""
        return ROWS[self.operation]


class Refusal(Struct, frozen=True, kw_only=True):
    """A call that is refused: what it sends besides, and how the error says so."""

    words: str
    """A part of the message, as every face says it."""
    code: str
    """The code of the error."""
    body: Json = NOTHING
    """Fields that differ from those of the example."""
    arguments: Mapping[str, str] = NOTHING
    """Arguments that differ."""
    command: str = ""
    """The command line, or empty where a command cannot say it."""
    fields: Mapping[str, str | tuple[str, ...]] = NOTHING
    """The fields of the form that differ, or none where a form cannot say it."""


class Words(Struct, frozen=True, kw_only=True):
    """What a person reads, in part: after the dry run, the doing, and the doing again."""

    trial: str = ""
    done: str = ""
    again: str = ""


class Command(Struct, frozen=True, kw_only=True):
    """A command line of `wheelyard`, and what it prints."""

    line: str
    trial: str = ""
    """The command line of the dry run, or empty if the command has none."""
    prints: Words = Words()
    is_about_the_process: bool = False
    """Whether it prints what is so for the server or the command alone."""


class Form(Struct, frozen=True, kw_only=True):
    """A form: where it is sent, its fields, and what the page that follows shows."""

    page: str
    shown_on: str = "/-/account/"
    """A page whose forms have the hidden fields that are sent, too."""
    fields: Mapping[str, str | tuple[str, ...]] = NOTHING
    shows: Words = Words()
    again: Refusal | None = None
    """How the page refuses it once more, if that is not as with the other faces."""


class Example(Struct, frozen=True, kw_only=True):
    """An example of an operation, which is played by each of its faces."""

    promise: str
    """What a user is told that it does."""
    request: Request
    who: frozenset[Role]
    """The roles that may call it."""
    before: tuple[Request, ...] = ()
    """
    What administrators have called before, beside what `world.py` has put there.

    `{id}` in the texts of an example stands for the id in the answer to the last of these calls.
    """
    trial: Json | None = None
    """A part of the answer to the dry run, or None if there is none."""
    answer: Json = NOTHING
    """A part of the answer, with None for a field that it must not have."""
    again: Json | Refusal | None = None
    """
    A part of the answer if it is called once more, or how it is refused then.

    None for the same as before.
    """
    after: tuple[tuple[Request, Json], ...] = ()
    """What other operations answer after it, in part."""
    refusals: tuple[Refusal, ...] = ()
    command: Command | None = None
    """The command for it, or None if there is none."""
    form: Form | None = None
    """The form that a page has for it, or None if there is none."""
    does_again: bool = False
    """Whether a second call does the same once more, such as make another token."""
    is_hidden: bool = False
    """Whether it is answered 404, and not 403, to those who may not know of its project."""

    def with_id(self, text: str) -> "Example":
        """Return the example with an id in place of each `{id}`."""
        filled: Example = _filled(self, text)
        return filled

    @property
    def as_trial(self) -> "Example":
        """The example with the request of its dry run."""
        body = {**self.request.body, "dry_run": True}
        return replace(self, request=replace(self.request, body=body))

    @property
    def statuses(self) -> tuple[int, int]:
        """The statuses of the API for an answer, and for none."""
        return self.request.row.status, 204

    def status_for(self, role: Role) -> int:
        """Return the status of the refusal for somebody who may not call it."""
        if role is Role.ANONYMOUS:
            return 401
        return 404 if self.is_hidden else 403

    def __str__(self) -> str:
        """Return a name for the row in the output of pytest."""
        return f"{self.request.row.method} {self.request.row.path}, {self.promise}"


def _filled(value: Any, text: str) -> Any:  # noqa: ANN401 - any part of an example
    """Return a part of an example with an id in place of each `{id}`."""
    match value:
        case str():
            return value.replace("{id}", text)
        case Struct():
            return replace(
                value, **{name: _filled(each, text) for name, each in asdict(value).items()}
            )
        case Mapping():
            return {name: _filled(each, text) for name, each in value.items()}
        case list() | tuple():
            return type(value)(_filled(each, text) for each in value)
    return value
