"""
Forms of pages: their fields, the token against forged ones, and the form to show after an error.

The anti-forgery token is a hidden field of each form that changes something: an HMAC under the key
of sessions, which all processes know. It is bound to the session of the browser, or without one to
the principal, so nobody can make it for somebody else. The checks of `security/origins.py` are made
as well: they are the defence against requests of other sites, and the token is a second one that
does not depend on what a browser sends by itself.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar
from urllib.parse import parse_qs

from msgspec import Struct
from msgspec.structs import fields as struct_fields

from wheelyard.api.operation import convert_fields
from wheelyard.errors import Forbidden, Invalid, WheelyardError, quoted
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.error_responses import UNSUPPORTED_MEDIA_TYPE, read_only
from wheelyard.http.protocol.messages import Request
from wheelyard.http.protocol.requests import BODY_LIMIT_BYTES, read_body
from wheelyard.model.decoding import InvalidField
from wheelyard.rendering.web.account_pages import FormState

FORM: Final = b"application/x-www-form-urlencoded"
MAX_FIELDS: Final = 1000

CSRF_FIELD: Final = "csrf_token"
FORM_TOKEN_SECONDS: Final = 12 * 3600
"""How long a form may stay open in a browser before it is sent."""
MAX_TOKEN_CHARS: Final = 100

S = TypeVar("S", bound=Struct)


class FormFields(Struct, frozen=True):
    """The fields of a form; several of one name are the ticked boxes of a list."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        """Return the stripped text of a field, empty without one; raise Invalid for several."""
        return self.exact_text(name).strip()

    def exact_text(self, name: str) -> str:
        """Return the text of a field as it was typed; otherwise like `text`."""
        texts = self.values.get(name, ("",))
        if len(texts) > 1:
            raise Invalid(
                f"The form has several fields {quoted(name)}. Send it once.", code="duplicate_field"
            )
        return texts[0]

    def action(self, *actions: str) -> str:
        """Return the field `action`, which is one of `actions`; raise Invalid."""
        action = self.text("action")
        if action not in actions:
            raise Invalid("The form does not say what to do. Load it again.", code="invalid_field")
        return action

    def all(self, name: str) -> tuple[str, ...]:
        """Return the texts of all fields of a name, in the order of the form."""
        return self.values.get(name, ())


def read_form(
    request: Request, limit: int = BODY_LIMIT_BYTES, max_fields: int = MAX_FIELDS
) -> FormFields:
    """Return the fields of the form in a request's body; raise Invalid or TooLarge."""
    if request.body_type != FORM:
        raise Invalid(
            f'Send the form as a browser does, with "Content-Type: {FORM.decode()}".',
            code=UNSUPPORTED_MEDIA_TYPE,
        )
    too_long = f"A form has at most {limit} bytes. Send a shorter text."
    return parse_form(read_body(request, limit, too_long), max_fields)


def parse_form(body: bytes, max_fields: int = MAX_FIELDS) -> FormFields:
    """Return the fields in the bytes of a form; raise Invalid if it is malformed."""
    try:
        found = parse_qs(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=max_fields
        )
    except UnicodeDecodeError:
        reason, code = "The form is not UTF-8. Send it as UTF-8.", "bad_encoding"
    except ValueError:
        reason, code = f"The form has more than {max_fields} fields. Send fewer.", "invalid_field"
    else:
        return FormFields({name: tuple(texts) for name, texts in found.items()})
    # outside of the handler: the decoder's error contains the whole body, and so passwords
    raise Invalid(reason, code=code)


def form_token(request: Request, context: ServerContext) -> str:
    """Return the token for the forms of a page; empty on a read-only server, which has no key."""
    if context.index.settings.server.read_only:
        return ""
    issued_at = f"{int(context.index.runtime.seconds()):x}"
    return f"{issued_at}.{_signature(request, context, issued_at)}"


def require_form_token(request: Request, context: ServerContext, sent: str) -> None:
    """
    Raise Forbidden (code `stale_form`) unless `sent` is the token that the page of a form had.

    It also is stale once the caller has signed in anew, or after `FORM_TOKEN_SECONDS`.
    """
    if context.index.settings.server.read_only:
        raise read_only()
    issued_at, _, signature = sent[:MAX_TOKEN_CHARS].partition(".")
    expected = _signature(request, context, issued_at).encode()
    is_ours = hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), expected)
    # only a genuine token has a number there for certain
    if not is_ours or context.index.runtime.seconds() - int(issued_at, 16) > FORM_TOKEN_SECONDS:
        raise Forbidden(
            "This form is too old, or you have signed in again since it was shown, so nothing was "
            "changed. Load the page with the form again, and send it once more.",
            code="stale_form",
        )


def _signature(request: Request, context: ServerContext, issued_at: str) -> str:
    records = context.index.sessions.records
    key = records.peek_key() or records.require_key()
    session, principal = request.browser_session, request.caller.principal
    binding = f"session:{session.id}" if session else f"principal:{principal}"
    signed = f"form\0{issued_at}\0{binding}".encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, signed, "sha256")).decode().rstrip("=")


@contextmanager
def checking(field: str) -> Iterator[None]:
    """Name `field` as what each WheelyardError of this block is about."""
    try:
        yield
    except WheelyardError as error:
        error.field = field
        raise


def form_body(fields: FormFields, kind: type[S], *lists: str) -> S:
    """
    Return the fields of a form as the body of an operation; raise Invalid if one is wrong.

    A field of `lists` may be there several times.
    """
    names = {field.encode_name for field in struct_fields(kind)} & fields.values.keys()
    sent = {name: fields.all(name) if name in lists else fields.text(name) for name in names}
    try:
        return convert_fields(sent, kind, strict=False)
    except Invalid as error:
        refusal = Invalid(f"{error.fact} Fill in the form again.", code=error.code)
        if isinstance(error.__cause__, InvalidField):
            refusal.field = error.__cause__.path[0]
        raise refusal from error


def refused_form(
    request: Request, context: ServerContext, fields: FormFields, error: WheelyardError
) -> FormState:
    """Return a form to be shown again, with what was typed and why it was refused; log why."""
    context.store_errors.log(error)
    try:
        token = form_token(request, context)
    except WheelyardError:  # the store does not answer: the token that was sent may be right
        token = fields.text(CSRF_FIELD)
    return FormState(token, fields.values, error.on_page, error.field)
