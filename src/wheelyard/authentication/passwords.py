"""New passwords: which names and passwords are accepted, and the lines of the htpasswd file."""

import re
from typing import Final

from passlib.hash import bcrypt

from wheelyard.authentication.credentials import TOKEN_USERS, is_service_account_key
from wheelyard.authentication.verifiers.htpasswd import (
    BCRYPT_LIMIT_BYTES,
    NAME_LIMIT_BYTES,
    parse_htpasswd,
)
from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import Credential
from wheelyard.model.api_token import has_token_prefix

MIN_PASSWORD_CHARS: Final = 8
"""The fewest characters of a new password."""
ROUNDS: Final = 12
"""The cost of bcrypt: a quarter of a second on a server of today."""

_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f]")
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_BYTE_ORDER_MARK: Final = "\ufeff"


def require_user_name(name: str) -> None:
    """
    Raise Invalid (code `invalid_field`) unless a name can be that of a user with a password.

    A line of an htpasswd file can have such a name, and a client can sign in with it.
    """
    if not 0 < len(name.encode("utf-8", "surrogatepass")) <= NAME_LIMIT_BYTES:
        why = f"is empty, or longer than {NAME_LIMIT_BYTES} bytes"
    elif ":" in name or _CONTROL_CHARACTER.search(name):
        why = "has a colon or a control character in it"
    elif name != name.strip() or name.startswith(("#", _BYTE_ORDER_MARK)):
        why = "begins or ends with a blank, or begins with #, which makes a line a comment"
    elif not _is_unicode(name):
        why = "is not text in the encoding of this terminal"
    elif name in TOKEN_USERS or has_token_prefix(name) or name.startswith("_json_key"):
        why = "is what clients write in place of a name if they send a token"
    else:
        return
    raise Invalid(f"{quoted(name)} {why}. Choose another name.", code="invalid_field")


def require_new_password(name: str, password: str) -> None:
    """
    Raise Invalid (code `invalid_field`) unless a user of this name can have this new password.

    The message does not have the password.
    """
    if len(password) < MIN_PASSWORD_CHARS:
        why = f"has fewer than {MIN_PASSWORD_CHARS} characters"
    elif not _is_unicode(password) or _CONTROL_CHARACTER.search(password):
        why = "has a control character in it, or none of Unicode"
    elif len(password.encode()) > BCRYPT_LIMIT_BYTES:
        why = f"has more than {BCRYPT_LIMIT_BYTES} bytes, and bcrypt ignores all that follow"
    elif has_token_prefix(password):
        why = "begins as an API token does"
    elif is_service_account_key(Credential(name, password)):
        why = "looks like the key of a service account"
    elif password == name:
        why = "is the name"
    else:
        return
    raise Invalid(f"The new password {why}. Choose another one.", code="invalid_field")


def hash_password(password: str) -> str:
    """Return the bcrypt hash of a password, in the form that Apache and nginx read, too."""
    hashed: str = bcrypt.using(rounds=ROUNDS, ident="2y").hash(password)
    return hashed


def line_number(text: str, name: str) -> int | None:
    """Return the number of a name's line in an htpasswd file, from 1, or None without a line."""
    lines = _LINE.findall(text.removeprefix(_BYTE_ORDER_MARK))
    for number, line in enumerate(lines, start=1):
        if _name_of_line(line) == name:
            return number
    return None


def with_line(text: str, name: str, hashed: str) -> str:
    """
    Return the text of an htpasswd file in which the line of a name has this hash.

    The hash in the line of the name is replaced, or a line is added. Everything else stays as it
    is. Raises Invalid (code `bad_setting`) if a line of the new text is wrong.
    """
    lines = _LINE.findall(text)
    number = line_number(text, name)
    if number is None:
        # an editor on Windows has written the file
        ending = "\r\n" if text.endswith("\r\n") else "\n"
        # the new line must not continue a last line without an ending
        if text and not text.endswith("\n"):
            lines.append(ending)
        lines.append(f"{name}:{hashed}{ending}")
    else:
        # the text behind a second colon stays, as Apache and nginx ignore it, too
        line_start, _, hash_and_rest = lines[number - 1].partition(":")
        old_hash = hash_and_rest.partition(":")[0].rstrip()
        text_behind_hash = hash_and_rest.removeprefix(old_hash)
        lines[number - 1] = f"{line_start}:{hashed}{text_behind_hash}"
    changed_text = "".join(lines)
    # raises Invalid if a line is wrong
    parse_htpasswd(changed_text)
    return changed_text


def _name_of_line(line: str) -> str | None:
    """Return the name in a line of an htpasswd file, or None if it is a comment."""
    entry = line.strip()
    if entry.startswith("#"):
        return None
    return entry.partition(":")[0]


def _is_unicode(text: str) -> bool:
    """Return whether a text can be written as UTF-8, and so has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
