"""The page of a new token, which shows its text once, and how to publish with it."""

from collections.abc import Sequence
from contextlib import suppress

from markupsafe import Markup
from msgspec.structs import replace

from wheelyard.api.access_operations import MadeToken, TokenAnswer
from wheelyard.errors import NotFound, WheelyardError, quoted
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import Response
from wheelyard.http.one_time_secret import read_secret, redirect_with_secret, with_secret_removed
from wheelyard.model.access import Action, Scope, first_index
from wheelyard.model.index_name import MAIN
from wheelyard.rendering.client_settings import USER
from wheelyard.wiring.index import Index


def redirect_to_made(request: IndexRequest, made: MadeToken) -> Response:
    """
    Return the redirect from a form to the page that shows the new token once.

    The key of sessions is made if there is none. Raises Unavailable if the store with the key does
    not answer, or the key is damaged.
    """
    return redirect_with_secret(request, _subject(made.id), made.token, f"made={made.id}")


def show_made(
    request: IndexRequest, tokens: Sequence[TokenAnswer], token_id: str, root: str
) -> Response:
    """
    Return the page of a new token, with its text the first time that it is loaded.

    The page also removes the text from the browser. `tokens` are those that the caller may see on
    the page, and `root` is the way to the home page. Raises NotFound unless a token has the id
    `token_id`. Raises Unavailable if the store with the key of sessions does not answer, or the key
    is damaged.
    """
    tokens_by_id = {token.id: token for token in tokens}
    new_token = tokens_by_id.get(token_id)
    if new_token is None:
        raise NotFound(f"There is no token {quoted(token_id)}. Look at the list of tokens.")
    text = read_secret(request, _subject(token_id))
    replaced_tokens = [token for token in tokens if token.replaced_by == token_id]
    values = {
        "made": new_token,
        "text": text,
        "replaced": replaced_tokens[0] if replaced_tokens else None,
        "user": USER,
        "publishing": _publishing_commands(request, new_token, text, root),
    }
    viewer = request.web.viewer(request.caller)
    page = request.web.show(request, viewer, 200, "token_made.html", root, **values)
    if not text:
        return page
    return with_secret_removed(request, _subject(token_id), page)


def _subject(token_id: str) -> str:
    """Return what the secret of a token is sealed for, so that no other page shows it."""
    return f"token {token_id}"


def _publishing_commands(
    request: IndexRequest, token: TokenAnswer, text: str, root: str
) -> dict[str, Markup]:
    """
    Return the commands that publish with a new token, by client.

    There are none if the token may not publish, or if `text`, the token itself, is not shown.
    """
    scope = token.scope
    may_upload = Action.UPLOAD.word in token.can
    if not may_upload or not text or not _takes_uploads(request.context.index, scope):
        return {}
    environment = request.web.environment
    clients = environment.client_settings
    index_name = first_index(scope.indexes)
    if index_name != MAIN:
        clients = replace(clients, root=f"{clients.root}/{index_name}")
    url = clients.upload_url
    uv_variables = f"UV_PUBLISH_URL={url} UV_PUBLISH_TOKEN={text}"
    twine_variables = f"TWINE_REPOSITORY_URL={url} TWINE_USERNAME={USER} TWINE_PASSWORD={text}"
    commands = {
        "uv": f"{uv_variables} uv publish dist/*",
        "twine": f"{twine_variables} twine upload dist/*",
    }
    return {client: environment.with_links(command, root) for client, command in commands.items()}


def _takes_uploads(index: Index, scope: Scope) -> bool:
    """Return whether a token is about one index that takes uploads."""
    # of several indexes, nobody knows to which one the token is to publish
    if len(scope.indexes) > 1:
        return False
    with suppress(WheelyardError):  # the token is made, and its page has to be shown
        return index.named(first_index(scope.indexes)).takes_uploads
    return False
