"""Forms that were refused: the field that an error is about, and the form to show again."""

from collections.abc import Iterator
from contextlib import contextmanager

from wheelyard.errors import WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.fields import FormFields
from wheelyard.http.protocol.messages import Request
from wheelyard.http.security.form_tokens import CSRF_FIELD, form_token
from wheelyard.rendering.web.forms import FormState


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


async def refused_form(
    request: Request, context: ServerContext, fields: FormFields, fault: FormFault
) -> FormState:
    """Return a form to be shown again, with what was typed and why it was refused."""
    try:
        token = await form_token(request, context)
    except WheelyardError:  # the store does not answer: the token that was sent may be right
        token = fields.text(CSRF_FIELD)
    return FormState(token, fields.values, fault.error.on_page, fault.field)
