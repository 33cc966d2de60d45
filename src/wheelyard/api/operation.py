"""The row of an operation in the table, its call, and the decoding of its body or query."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from enum import Enum, auto
from functools import cached_property
from typing import Annotated, Any, Final, TypeVar, get_type_hints
from urllib.parse import parse_qs

from msgspec import DecodeError, Meta, Struct, inspect
from msgspec.inspect import IntType, type_info
from msgspec.json import decode
from msgspec.structs import fields
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authorization import (
    parse_project_name,
    require_admin,
    require_approver,
    require_own_admin,
    require_server_admin,
)
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.model import access
from wheelyard.model.access import Action, Caller
from wheelyard.model.api_token import ApiToken
from wheelyard.model.decoding import InvalidField, decode_table
from wheelyard.wiring.index import Index

S = TypeVar("S", bound=Struct)

_VALUES_IN_WORDS: Final[Mapping[type[inspect.Type], str]] = {
    inspect.BoolType: "true or false",
    inspect.DictType: "an object",
    inspect.DateTimeType: "a time with its offset, such as 2030-01-31T00:00:00Z",
}
"""The values that a field of a type may have, in words."""

Name = Annotated[str, Meta(title="Name")]
"""The name of a project in any spelling."""
OptionalName = Annotated[str, Meta(title="OptionalName")]
"""The name of a project in any spelling, or an empty text."""
Version = Annotated[str, Meta(title="Version")]
OptionalVersion = Annotated[str, Meta(title="OptionalVersion")]
"""A version, or an empty text."""
VersionSet = Annotated[str, Meta(title="VersionSet")]
Filename = Annotated[str, Meta(title="Filename")]
Reason = Annotated[str, Meta(title="Reason")]
"""One line of text."""
Note = Annotated[str, Meta(title="Note")]
"""One line of text, or nothing."""
WrittenReason = Annotated[str, Meta(title="WrittenReason")]
"""One line of text that is not blank."""
Pattern = Annotated[access.Pattern, Meta(title="Pattern")]
Sha256 = Annotated[str, Meta(title="Sha256")]
TokenName = Annotated[str, Meta(title="TokenName")]
IndexName = Annotated[str, Meta(title="IndexName")]
"""The name of an index."""
RightIndexes = Annotated[str, Meta(title="RightIndexes")]
"""Names of indexes with commas between them, `*`, or nothing."""
WrittenIndexes = Annotated[str, Meta(title="WrittenIndexes")]
"""Names of indexes with commas between them, or `*`."""
OptionalIndex = Annotated[str, Meta(title="OptionalIndex")]
"""The name of an index, or an empty text."""
GroupName = Annotated[str, Meta(title="GroupName")]
Principal = Annotated[str, Meta(title="Principal")]
Principals = Annotated[str, Meta(title="Principals")]
ApprovalRule = Annotated[str, Meta(title="ApprovalRule")]
"""The code of a rule that an approval may lift."""
Word = Annotated[str, Meta(title="Word")]
"""`read`, `upload`, `manage`, `approve` or `admin`."""


class Call(Struct, frozen=True, kw_only=True):
    """Who calls an operation, and on which index."""

    index: Index
    caller: Caller
    lists_public: bool = False
    """Whether a list of projects has the public packages that are used here, too."""
    signed_in_at: datetime | None = None
    """When the caller signed in, or None for this moment: then no sign-in is asked for."""
    sent_token: ApiToken | None = None
    """The API token that the caller has sent as the credential, if it is one."""
    caller_elsewhere: Callable[[Index], Caller] | None = None
    """Returns the caller with the rights in another index, or None if the call asks for none."""

    @property
    def by(self) -> str:
        """The principal of the caller."""
        return self.caller.principal

    def caller_in(self, index: Index) -> Caller:
        """
        Return the caller with the rights in an index of the store.

        Raises Unavailable if the rights cannot be read now, and Unauthenticated if the credential
        has just ended.
        """
        if index.name == self.index.name:
            return self.caller
        assert self.caller_elsewhere is not None, "a call about two indexes has it"  # noqa: S101
        return self.caller_elsewhere(index)


class RequiredRight(Enum):
    """Who may call an operation, which may check more for what it changes."""

    READER = auto()
    """Whoever may read something, which the operation checks."""
    CALLER = auto()
    """Whoever has a credential."""
    MANAGER = auto()
    """Whoever may manage the project in the path."""
    APPROVER = auto()
    """Whoever may approve some public packages. The operation checks which."""
    ADMIN = auto()
    """Administrators of the index, or if it is about no index, of the server."""
    OWN_ADMIN = auto()
    """Administrators of the server, but no token that has an owner: for what changes rights."""


class ApiOperation(Struct, frozen=True, dict=True):
    """A row of the table: an operation, where it is in the API, and who may call it."""

    method: str
    path: str
    """Below `/api/v1/`, where each `{name}` is an argument of the function."""
    run: Callable[..., Any]
    """
    The function that does the operation.

    Its arguments are a `Call`, those of the path and, if the operation has one, the `body`. The
    annotations of `body` and of the returned value are the JSON. The body of a GET is its query.
    """
    right: RequiredRight
    restricted_act: str = ""
    """What only administrators may do, for the message to other callers."""
    is_of_index: bool = False
    """Whether the operation is about one index, and each index has it, with the rights there."""
    status: int = 200
    """The status of the response, or 204 where the function returns None."""
    is_long: bool = False
    """Whether the operation may take long, so that only a few of this kind run at a time."""
    asks_upstream: bool = False
    """Whether it may wait for an upstream index, unless its body has `asks_upstream` False."""
    body_limit: int = 64 * 1024
    """Bytes of the largest body."""
    is_repeatable: bool = True
    """Whether a client may send the request again if no answer has come."""
    takes_iap: bool = False
    """Whether Identity-Aware Proxy, too, may say who calls."""

    @cached_property
    def body_type(self) -> type[Struct] | None:
        """The type of the body, or of the query of a GET, or None if the operation has neither."""
        body_type: type[Struct] | None = get_type_hints(self.run).get("body")
        return body_type

    @cached_property
    def answer_type(self) -> type[Any]:
        """The type of the value that the function returns."""
        answer_type: type[Any] = get_type_hints(self.run)["return"]
        return answer_type

    def answer_to(self, call: Call, params: Mapping[str, str], body: Struct | None) -> object:
        """
        Do the operation with the arguments in its path and its body, and return its answer.

        Raises Unauthenticated or Forbidden if the caller lacks the right of the row, NotFound if
        the name of a project is malformed, and the errors of the function.
        """
        arguments: dict[str, Any] = {**self.checked_arguments(call, params)}
        if body is not None:
            arguments["body"] = body
        with self.naming_alternatives(call, params):
            return self.run(call, **arguments)

    def naming_alternatives(
        self, call: Call, params: Mapping[str, str]
    ) -> AbstractContextManager[None]:
        """Return the context that names other indexes, if this is about a project of one index."""
        if self.is_of_index and "name" in params:
            return naming_alternatives(call.index)
        return nullcontext()

    def checked_arguments(
        self, call: Call, params: Mapping[str, str]
    ) -> dict[str, NormalizedName | str]:
        """
        Return the arguments in a path, if the caller has the right of the row.

        Raises Unauthenticated or Forbidden if not, and NotFound if the name of a project is
        malformed.
        """
        parsed = dict[str, NormalizedName | str]()
        for name, text in params.items():
            parsed[name] = parse_project_name(text) if name == "name" else text
        # after the name is parsed: a malformed one is a 404 for everybody
        if self.right is RequiredRight.ADMIN and self.is_of_index:
            require_admin(call.caller, self.restricted_act)
        elif self.right is RequiredRight.ADMIN:
            require_server_admin(call.caller, self.restricted_act)
        elif self.right is RequiredRight.OWN_ADMIN:
            require_own_admin(call.caller, self.restricted_act)
        elif self.right is RequiredRight.APPROVER:
            require_approver(call.caller)
        elif self.right is not RequiredRight.READER and call.caller.is_anonymous:
            raise invalid_credential()
        if self.right is RequiredRight.MANAGER:
            # asked by the name alone: the error is the same for a project that does not exist
            call.caller.require(Action.MANAGE, NormalizedName(parsed["name"]))
        return parsed


@contextmanager
def naming_alternatives(index: Index) -> Iterator[None]:
    """Add the other indexes to the message of a NotFound for a project that main does not have."""
    try:
        yield
    except NotFound as error:
        indexes = index.alternatives
        if not indexes:
            raise
        message = (
            f"{error.message} This is about the index main: {other_indexes_in_words(indexes)}."
        )
        raise NotFound(message, code=error.code, advice=error.advice) from error


def other_indexes_in_words(indexes: Sequence[str]) -> str:
    """Return the part of a sentence which says that these indexes exist beside main."""
    verb = "are" if len(indexes) > 1 else "is"
    return f"there {verb} also {', '.join(indexes)}"


def decode_body(body: bytes, kind: type[S]) -> S:
    """
    Return the JSON object of a body as a `kind`.

    Raises Invalid (code `invalid_field`) if the body is no JSON object, or a field is wrong,
    missing or unknown.
    """
    # decoded as any JSON first: so the error about a wrong value names a field and no position
    try:
        sent_fields = decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = "Send an object with the fields of the change"
        raise _invalid_field("the body is not JSON", remedy) from error
    if not isinstance(sent_fields, dict):
        raise _invalid_field("the body is no JSON object", "Send one with the fields of the change")
    return convert_fields(sent_fields, kind)


def decode_query(query: bytes, kind: type[S]) -> S:
    """
    Return the fields of a query as a `kind`.

    Unknown fields are ignored, and several of one name are joined by commas. Raises Invalid (code
    `invalid_field`) if a field is wrong or missing.
    """
    # Latin-1 takes any byte; what is percent-encoded, `parse_qs` reads as UTF-8
    values_by_name = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    texts = dict[str, str]()
    for field in fields(kind):
        values = values_by_name.get(field.encode_name)
        if values:
            texts[field.encode_name] = _text_to_convert(", ".join(values), type_info(field.type))
    return convert_fields(texts, kind, strict=False)


def _text_to_convert(text: str, kind: inspect.Type) -> str:
    """Return the text of a field, or an empty text if msgspec would take it for another value."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    types = {type(_without_metadata(member)) for member in kinds}
    # for msgspec `1e3` is a number
    if IntType in types and not text.isdecimal():
        return ""
    # a number is a time, in seconds since the epoch
    if inspect.DateTimeType in types and ":" not in text:
        return ""
    # `null` is None, as if the field had not been sent
    takes_null = inspect.NoneType in types and inspect.StrType not in types
    if takes_null and text.lower() == "null":
        return ""
    return text


def convert_fields(sent_fields: Mapping[str, object], kind: type[S], *, strict: bool = True) -> S:
    """
    Return fields as a `kind`.

    Without `strict`, texts stand for other values, as in a query. Raises Invalid (code
    `invalid_field`), with InvalidField as its cause, for the first field that is wrong, missing,
    or unknown to a `kind` that forbids unknown fields.
    """
    try:
        return decode_table(sent_fields, kind, strict=strict)
    except InvalidField as fault:
        name = ".".join(fault.path)
        if fault.why == "unknown":
            fact = f"unknown field {quoted(name)}"
            remedy = f"Send only {fault.known_keys}"
        elif fault.why == "missing":
            fact = f"{name} is missing"
            remedy = "Send it, too"
        else:
            fact = f"{name} must be {_values_in_words(type_info(fault.field_type))}"
            remedy = "Correct it and send the request again"
        raise _invalid_field(fact, remedy) from fault


def _without_metadata(kind: inspect.Type) -> inspect.Type:
    """Return a type without its metadata, such as a title or a limit."""
    if isinstance(kind, inspect.Metadata):
        return kind.type
    return kind


def _values_in_words(kind: inspect.Type) -> str:
    """Return the values that a field of a type may have, in words."""
    choices: Iterable[object] = ()
    match kind:
        case inspect.Metadata(type=inner):
            return _values_in_words(inner)
        case inspect.UnionType(types=kinds):
            # nobody has to be told of null, which stands for a field that was not sent
            members = [member for member in kinds if not isinstance(member, inspect.NoneType)]
            return " or ".join(_values_in_words(member) for member in members)
        case inspect.EnumType(cls=enum):
            choices = (member.value for member in enum)
        case inspect.LiteralType(values=values):
            choices = values
        case IntType(ge=low, le=high) | inspect.FloatType(ge=low, le=high):
            return f"a number from {low} to {high}"
        case inspect.VarTupleType(item_type=member, min_length=least, max_length=most):
            count = ""
            if most:
                count = f"1 to {most} "
            elif least:
                count = "one or more "
            is_object = isinstance(member, inspect.StructType | inspect.DictType)
            plural = "objects" if is_object else "strings"
            return f"a list of {count}{plural}"
    choices_in_words = ", ".join(map(str, choices))
    if choices_in_words:
        return f"one of {choices_in_words}"
    return _VALUES_IN_WORDS.get(type(kind), "a string")


def _invalid_field(fact: str, remedy: str) -> Invalid:
    return Invalid(f"{fact}. {remedy}.", code="invalid_field")
