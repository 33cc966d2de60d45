"""
Errors of an upload's form; each message says how to repair the form.

`handler.py` has the responses that need no body, `operations/upload.py` the errors of a package.
"""

from wheelyard.errors import Invalid, quoted
from wheelyard.settings.sections import MIB


def bad_multipart(reason: str) -> Invalid:
    """Return the error for a body that is not well-formed multipart/form-data."""
    return Invalid(
        f"The body is not a well-formed multipart/form-data form: {reason}. "
        "Upload with a current client, or with 'curl -F content=@FILE'.",
        code="bad_multipart",
        short="The body is not a well-formed form.",
    )


def bad_encoding(what: str) -> Invalid:
    """Return the error for text that is not UTF-8; `what` names the part of the form."""
    return Invalid(
        f"{what} is not UTF-8. Send the form in UTF-8, whatever charset its headers name.",
        code="bad_encoding",
    )


def invalid_field(message: str) -> Invalid:
    """Return the error, with this message, for a form field with an invalid value."""
    return Invalid(message, code="invalid_field")


def field_too_large(what: str, limit: int) -> Invalid:
    """Return the error for form data of more than `limit` bytes; `what` names the data."""
    return Invalid(
        f"{what} is larger than {limit / MIB:g} MiB. Send less metadata with the file.",
        code="too_large",
    )


def empty_file(filename: str) -> Invalid:
    """Return the error for a package without a byte."""
    return Invalid(f"The file {quoted(filename)} is empty. Build it again.", code="invalid_archive")
