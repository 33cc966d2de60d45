"""Loads the handlers of pages at the first request for a page: no other request waits for them."""

from collections.abc import Callable, Coroutine
from functools import partial
from importlib import import_module, invalidate_caches
from typing import TYPE_CHECKING, Any

from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.router import Handler
from wheelyard.storage.filesystem import storage_faults

if TYPE_CHECKING:
    from wheelyard.http.web_pages import WebPages

PageHandler = Callable[..., Coroutine[Any, Any, Response]]


class PageLoader:
    """Imports the modules of `http/handlers/` that answer with pages, and what they need."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._web: WebPages | None = None
        self._handlers = dict[tuple[str, str], PageHandler]()

    def handler(self, module: str, function: str, *more: object) -> Handler:
        """Return a handler; it is called with the request, what all pages share, and `more`."""

        async def handle(request: Request) -> Response:
            found = self._handlers.get((module, function))
            if found is None:
                load = partial(self._load_handler, module, function)
                found = await self._context.pools.run_read(load)
            return await found(request, self.load(), *more)

        return handle

    def load(self) -> "WebPages":
        """Return what all pages share, made at the first call; raise Unavailable if it fails."""
        if self._web is None:
            self._web = self._import("wheelyard.http.web_pages").WebPages(self._context)
        return self._web

    def close(self) -> None:
        """End what pages have started."""
        if self._web is not None:
            self._web.descriptions.close()

    def _load_handler(self, module: str, function: str) -> PageHandler:
        found = self._import(f"wheelyard.http.handlers.{module}")
        handler: PageHandler = getattr(found, function)
        self.load()
        return self._handlers.setdefault((module, function), handler)

    def _import(self, module: str) -> Any:  # noqa: ANN401 - a module, of any content
        with storage_faults("the templates of the pages"):
            try:
                return import_module(module)
            except ImportError as error:  # a folder that could not be read looked empty
                invalidate_caches()  # so that the next request tries again
                raise OSError(str(error)) from error
