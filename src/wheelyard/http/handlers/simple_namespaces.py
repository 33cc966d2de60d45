"""
Namespaces (PEP 752) in the Simple API: all of them, and one with those in and around it.

Each handler answers 406 if the client accepts no JSON, and raises Unavailable if the store does not
answer, or the namespaces are damaged.
"""

from collections.abc import Collection, Sequence

from msgspec.json import encode
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import error_response
from wheelyard.http.messages import Response, make_response
from wheelyard.http.representation import MediaType, accepted_json
from wheelyard.http.responses import VARY, page_headers
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.stored_namespaces import Namespace


def answer_list(request: IndexRequest) -> Response:
    """Handle GET of the namespaces of which the caller may read a name."""
    document = [{"name": namespace.name} for namespace in _readable(request)]
    return _response(request, document)


def answer_one(request: IndexRequest) -> Response:
    """
    Handle GET of a namespace, which is 404 if the caller may read no name of it.

    Of its parent and its children, those are named that the caller would be shown. The parent is
    null if there is none of these.
    """
    try:
        name = parse_name(request.path_params["namespace"])
    except Invalid as error:
        raise NotFound(error.message) from error
    readable = _readable(request)
    in_force = request.context.index.server.namespaces.load()
    namespace = in_force.find(name)
    # one answer for both: nobody learns of a namespace in which they may read nothing
    if namespace is None or namespace not in readable:
        raise NotFound(f"There is no namespace {quoted(name)}.")
    parent = in_force.parent_of(namespace)
    parent_name = None
    if parent is not None and parent in readable:
        parent_name = parent.name
    children = in_force.children_of(namespace)
    child_names = [child.name for child in children if child in readable]
    document = {"name": namespace.name, "parent": parent_name, "children": child_names}
    return _response(request, document)


def _readable(request: IndexRequest) -> Sequence[Namespace]:
    """
    Return the namespaces of which the caller may read a name.

    Raises Unavailable if the store does not answer.
    """
    index = request.context.index
    caller = request.caller
    # a namespace is shown to whoever may read a project in it, which is one of these
    names = index.repository.names().readable_by(caller)
    namespaces = index.server.namespaces.load().all
    return [namespace for namespace in namespaces if _is_readable(caller, namespace, names)]


def _is_readable(caller: Caller, namespace: Namespace, names: Collection[NormalizedName]) -> bool:
    """
    Return whether a caller may read a name of a namespace.

    `names` are those that exist and that the caller may read. A scope may also be about names that
    nobody has published yet.
    """
    if caller.may(Action.READ, namespace.name):
        return True
    prefix = f"{namespace.name}-"
    for scope in caller.scopes:
        reads = Action.READ in scope.actions
        if reads and any(pattern.startswith(prefix) for pattern in scope.projects):
            return True
    return any(map(namespace.has, names))


def _response(request: IndexRequest, document: object) -> Response:
    """Return a document as JSON, or the response 406 if the client accepts no JSON."""
    media_type = accepted_json(request.joined_headers.get(b"accept", b""), MediaType.JSON)
    if media_type is None:
        return error_response(
            406,
            "not_acceptable",
            "Namespaces come as application/vnd.pypi.simple.v1+json or application/json. Accept "
            "one of them.",
            VARY,
        )
    headers = page_headers(request.context, media_type)
    return make_response(200, media_type.value.content_type, encode(document), *headers)
