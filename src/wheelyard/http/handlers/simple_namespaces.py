"""
Handlers of namespaces (PEP 752) in the Simple API: the list, and one with parent and children.

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
    """Handle GET of the list of the namespaces in which the caller may read a name."""
    document = [{"name": namespace.name} for namespace in _readable_namespaces(request)]
    return _json_response(request, document)


def answer_one(request: IndexRequest) -> Response:
    """
    Handle GET of a namespace, with its parent and its children.

    The parent and the children are left out if the caller may read no name in them; the parent is
    null then. Raises NotFound if there is no such namespace, or the caller may read no name in it.
    """
    try:
        name = parse_name(request.path_params["namespace"])
    except Invalid as error:
        raise NotFound(error.message) from error
    readable_namespaces = _readable_namespaces(request)
    namespaces = request.context.index.server.namespaces.load()
    namespace = namespaces.find(name)
    # the same answer, so that no caller learns of a namespace in which they may read nothing
    if namespace is None or namespace not in readable_namespaces:
        raise NotFound(f"There is no namespace {quoted(name)}.")
    parent = namespaces.parent_of(namespace)
    parent_name = None
    if parent is not None and parent in readable_namespaces:
        parent_name = parent.name
    children = namespaces.children_of(namespace)
    child_names = [child.name for child in children if child in readable_namespaces]
    document = {"name": namespace.name, "parent": parent_name, "children": child_names}
    return _json_response(request, document)


def _readable_namespaces(request: IndexRequest) -> Sequence[Namespace]:
    """
    Return the namespaces in which the caller may read a name.

    Raises Unavailable if the store does not answer.
    """
    index = request.context.index
    caller = request.caller
    readable_names = index.repository.names().readable_by(caller)
    readable_namespaces = list[Namespace]()
    for namespace in index.server.namespaces.load().all:
        if _is_readable(caller, namespace, readable_names):
            readable_namespaces.append(namespace)
    return readable_namespaces


def _is_readable(
    caller: Caller, namespace: Namespace, readable_names: Collection[NormalizedName]
) -> bool:
    """
    Return whether a caller may read a name in a namespace.

    `readable_names` are the names of projects that the caller may read. A scope may also be about
    names that are not published yet.
    """
    if caller.may(Action.READ, namespace.name):
        return True
    prefix = f"{namespace.name}-"
    for scope in caller.scopes:
        names_member = any(pattern.startswith(prefix) for pattern in scope.projects)
        if names_member and Action.READ in scope.actions:
            return True
    return any(namespace.has(name) for name in readable_names)


def _json_response(request: IndexRequest, document: object) -> Response:
    """Return a document as JSON, or the response 406 if the client accepts no JSON."""
    accept_header = request.joined_headers.get(b"accept", b"")
    media_type = accepted_json(accept_header, MediaType.JSON)
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
