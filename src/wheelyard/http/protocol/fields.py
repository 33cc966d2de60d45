"""Fields of query strings, and of HTML forms as a browser sends them, in UTF-8."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from msgspec import Struct

from wheelyard.errors import Invalid, quoted
from wheelyard.http.protocol.error_responses import UNSUPPORTED_MEDIA_TYPE
from wheelyard.http.protocol.json_body import BODY_LIMIT_BYTES, read_body
from wheelyard.http.protocol.messages import Request

FORM: Final = b"application/x-www-form-urlencoded"
MAX_FIELDS: Final = 1000


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
            short="Send a form.",
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


def query_field(query: bytes, name: str) -> str | None:
    """Return the values of a field of a query string, joined; None if it is missing."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name)
    return None if values is None else ", ".join(values)
