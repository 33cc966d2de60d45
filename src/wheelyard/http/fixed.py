"""The small routes that are open to everybody and know next to nothing."""

from dataclasses import replace
from typing import Final

from wheelyard.errors import IndexFault
from wheelyard.http.desk import Desk
from wheelyard.http.errors import nothing_here, refuse
from wheelyard.http.exchange import NO_STORE, Header, Reply, Request, reply

TEXT: Final = b"text/plain; charset=utf-8"
FOR_A_DAY: Final[Header] = (b"cache-control", b"public, max-age=86400")

UPLOAD_URL: Final = b"""This is the upload URL of a wheelyard index. Give it to your client:

    twine upload --repository-url <this URL> dist/*
"""


async def health(_request: Request) -> Reply:
    """Answer that this process is alive."""
    return reply(200, TEXT, b"Ok", NO_STORE)


async def upload_url(_request: Request) -> Reply:
    """Tell a person what the upload URL is for."""
    return reply(200, TEXT, UPLOAD_URL, NO_STORE)


async def ready(_request: Request, desk: Desk) -> Reply:
    """Answer whether the store can be read, and has taken a write since the start."""
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


async def absent(_request: Request) -> Reply:
    """Answer what ends the questions of browsers and crawlers for a day."""
    nothing = nothing_here()
    kept = (header for header in nothing.headers if header != NO_STORE)
    return replace(nothing, headers=(*kept, FOR_A_DAY))
