"""A server that only reads: it refuses whatever would change something, whoever asks for it."""

from wheelyard.http.errors import refuse
from wheelyard.http.exchange import Reply, Request
from wheelyard.http.routes import Exchange, Route, Upload, is_change
from wheelyard.http.xml_rpc import is_xml_rpc
from wheelyard.settings.sections import ServerSettings


def refused_change(request: Request, route: Route, server: ServerSettings) -> Reply | None:
    """Return the refusal of a change where [server] read_only is set, else None."""
    if not server.read_only or not _would_write(request, route):
        return None
    message = "Nothing is uploaded or changed by this server. Use another one of the same index."
    return refuse(403, "read_only", message, "This index is read-only.")


def _would_write(request: Request, route: Route) -> bool:
    if isinstance(route, Exchange):
        return request.method == "POST"
    is_question = isinstance(route, Upload) and is_xml_rpc(request)
    return is_change(route, request.method) and not is_question
