"""Forms that were refused: the field that an error is about, and the form to show again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import fields as struct_fields

from wheelyard.api.bodies import convert_fields
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.fields import FormFields
from wheelyard.http.protocol.messages import Request
from wheelyard.http.security.form_tokens import CSRF_FIELD, form_token
from wheelyard.model.decoding import InvalidField
from wheelyard.rendering.web.forms import FormState

S = TypeVar("S", bound=Struct)


class FormFault(Exception):
    """A form is refused by `error`, which is about the field `field`; empty: about none."""

    def __init__(self, field: str, error: WheelyardError) -> None:
        super().__init__(error.message)
        self.field = field
        self.error = error


@contextmanager
def checking(field: str = "") -> Iterator[None]:
    """Raise a FormFault about `field` for each WheelyardError of this block."""
    try:
        yield
    except WheelyardError as error:
        raise FormFault(field, error) from error


def form_body(fields: FormFields, kind: type[S], *lists: str) -> S:
    """
    Return the fields of a form as the body of an operation; raise FormFault if one is wrong.

    A field of `lists` may be there several times.
    """
    names = {field.encode_name for field in struct_fields(kind)} & fields.values.keys()
    sent = {name: fields.all(name) if name in lists else fields.text(name) for name in names}
    try:
        return convert_fields(sent, kind, strict=False)
    except Invalid as error:
        field = error.__cause__.path[0] if isinstance(error.__cause__, InvalidField) else ""
        raise FormFault(field, error) from error


def refused_form(
    request: Request, context: ServerContext, fields: FormFields, fault: FormFault
) -> FormState:
    """Return a form to be shown again, with what was typed and why it was refused."""
    try:
        token = form_token(request, context)
    except WheelyardError:  # the store does not answer: the token that was sent may be right
        token = fields.text(CSRF_FIELD)
    return FormState(token, fields.values, fault.error.on_page, fault.field)
