"""The small routes that are open to everybody and know next to nothing."""

from dataclasses import replace
from typing import Final

from wheelyard.errors import IndexFault
from wheelyard.http.desk import Desk
from wheelyard.http.errors import nothing_here, refuse
from wheelyard.http.exchange import NO_STORE, Header, Reply, Request, reply
from wheelyard.http.routes import Fixed
from wheelyard.http.xml_rpc import answer_call

TEXT: Final = b"text/plain; charset=utf-8"
FOR_A_DAY: Final[Header] = (b"cache-control", b"public, max-age=86400")

UPLOAD_URL: Final = b"""This is the upload URL of a wheelyard index. Give it to your client:

    twine upload --repository-url <this URL> dist/*
"""


async def answer_fixed(request: Request, route: Fixed, desk: Desk) -> Reply:
    """Answer a fixed route by its name."""
    match route.name:
        case "health":
            answer = reply(200, TEXT, b"Ok", NO_STORE)
        case "ready":
            answer = await _ready(desk)
        case "upload-url":
            answer = reply(200, TEXT, UPLOAD_URL, NO_STORE)
        case "absent":
            answer = _absent()
        case _:
            answer = await answer_call(request, desk)
    return answer


async def _ready(desk: Desk) -> Reply:
    try:
        await desk.names()
    except IndexFault as fault:
        desk.troubles.note(fault)  # nobody but probes may ask, where there is a load balancer
        message = "The store does not answer."
        return refuse(503, "storage_unavailable", message, "Not ready.")
    reason = desk.unwritable()
    if reason:
        message = f"No write to the store has succeeded since the server was started. {reason}"
        return refuse(503, "store_not_written", message, "Not ready.")
    return reply(200, TEXT, b"Ok", NO_STORE)


def _absent() -> Reply:
    """Return what ends the questions of browsers and crawlers for a day."""
    nothing = nothing_here()
    kept = (header for header in nothing.headers if header != NO_STORE)
    return replace(nothing, headers=(*kept, FOR_A_DAY))
