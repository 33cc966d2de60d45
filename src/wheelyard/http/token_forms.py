"""The form with which people make API tokens, and the page that shows a new one."""

import re
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from wheelyard.api.access_operations import MadeToken, NewToken
from wheelyard.authentication.api_tokens import require_token_name
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http.forms import FormFields, checking
from wheelyard.model.access import Action, Pattern, Scope, parse_actions, parse_pattern
from wheelyard.rendering.client_settings import USER
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.wiring.index import Index

_DAYS: Final = re.compile("[0-9]{1,5}", re.ASCII)
_SEPARATORS: Final = re.compile(r"[\s,]+")


def parse_patterns(text: str) -> tuple[Pattern, ...]:
    """
    Return the project patterns in a text, with commas or blanks between them, sorted.

    Raises Invalid if one is malformed, or there is none.
    """
    projects = tuple(sorted({parse_pattern(part) for part in _SEPARATORS.split(text) if part}))
    if not projects:
        message = "Name the projects: names, or the beginning of names and a star."
        raise Invalid(message, code="missing_field")
    return projects


def new_token(fields: FormFields, max_days: int) -> NewToken:
    """
    Return the token that a form asks for, which is the caller's own.

    Raises Invalid, with the field that is wrong.
    """
    name, days, can = fields.text("name"), fields.text("days"), fields.text("can")
    with checking("name"):
        require_token_name(name)
    with checking("days"):
        if not _DAYS.fullmatch(days) or not 1 <= int(days) <= max_days:
            message = f"Write a number of days from 1 to {max_days}."
            raise Invalid(message, code="invalid_field")
    with checking("can"):
        if not can:
            raise Invalid("Choose what the token may do.", code="missing_field")
    with checking("projects"):
        projects = parse_patterns(fields.text("projects"))
    index = ",".join(fields.all("index"))
    return NewToken(name=name, projects=projects, can=(can,), days=int(days), index=index)


def made_values(
    environment: PageEnvironment, made: MadeToken, root: str, index: Index
) -> dict[str, object]:
    """
    Return the values of the page that shows a new token, once, and how to use it.

    `index` is the one whose page it is.
    """
    clients, token = environment.client_settings, made.token
    if made.index:
        clients = replace(clients, root=f"{clients.root}/{made.index}")
    url = clients.upload_url
    to_uv = f"UV_PUBLISH_URL={url} UV_PUBLISH_TOKEN={token}"
    to_twine = f"TWINE_REPOSITORY_URL={url} TWINE_USERNAME={USER} TWINE_PASSWORD={token}"
    commands = {"uv": f"{to_uv} uv publish dist/*", "twine": f"{to_twine} twine upload dist/*"}
    return {
        "made": made,
        "scope": Scope(parse_actions(made.can, admin=True), made.projects, made.index),
        "user": USER,
        # the page is sent with `no-store`: nothing else ever has the text of the token
        "publishing": {
            client: environment.with_links(command, root) for client, command in commands.items()
        }
        if Action.UPLOAD.word in made.can and _takes_uploads(index, made.index)
        else {},
    }


def _takes_uploads(index: Index, names: str) -> bool:
    """Return whether one index takes uploads, that of a name or without a name the other one."""
    # of several indexes nobody knows to which the token is to publish
    if not names or "," in names:
        return not names and index.takes_uploads
    with suppress(WheelyardError):  # the token is made, and its page has to be shown
        return index.named(names).takes_uploads
    return False
