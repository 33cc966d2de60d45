"""Namespaces (PEP 752) in the Simple API: all of them, and one with those in and around it."""

from collections.abc import Sequence
from typing import Any

from msgspec.json import encode

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
    return _response(request, [{"name": namespace.name} for namespace in _readable(request)])


def answer_one(request: IndexRequest) -> Response:
    """
    Handle GET of a namespace, which is 404 if the caller may read no name of it.

    Of its parent and its children, those are named that the caller would be shown.
    """
    try:
        name = parse_name(request.path_params["namespace"])
    except Invalid as error:
        raise NotFound(error.message) from error
    readable = _readable(request)
    in_force = request.context.index.server.namespaces.load()
    namespace = in_force.find(name)
    if namespace is None or namespace not in readable:
        raise NotFound(f"There is no namespace {quoted(name)}.")
    parent = in_force.parent_of(namespace)
    shown: dict[str, Any] = {"name": namespace.name, "parent": None, "children": []}
    if parent is not None and parent in readable:
        shown["parent"] = parent.name
    children = (child for child in in_force.children_of(namespace) if child in readable)
    shown["children"] = [child.name for child in children]
    return _response(request, shown)


def _readable(request: IndexRequest) -> Sequence[Namespace]:
    """
    Return the namespaces of which the caller may read a name.

    Raises Unavailable if the store does not answer.
    """
    index = request.context.index
    caller = request.caller
    names = index.repository.names().readable_by(caller)
    return [
        namespace
        for namespace in index.server.namespaces.load().all
        if _may_read_of(caller, namespace) or any(map(namespace.has, names))
    ]


def _may_read_of(caller: Caller, namespace: Namespace) -> bool:
    """Return whether a scope of a caller is about names of a namespace, which need not exist."""
    if caller.may(Action.READ, namespace.name):
        return True
    patterns = (
        pattern
        for scope in caller.scopes
        if Action.READ in scope.actions
        for pattern in scope.projects
    )
    return any(pattern.startswith(f"{namespace.name}-") for pattern in patterns)


def _response(request: IndexRequest, document: object) -> Response:
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
