"""A second index beside ours, as a public one is: plain pages without credentials, in memory."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from tests.http_server import serving


@dataclass
class PublicIndex:
    """A running index, and the paths that were asked for."""

    url: str
    """Of its project list."""
    asked: list[str] = field(default_factory=list)

    def was_asked_for(self, name: str) -> bool:
        """Whether anybody has asked for a project."""
        return any(path.startswith(f"/simple/{name}/") for path in self.asked)


@contextmanager
def public_index(files: dict[str, bytes]) -> Iterator[PublicIndex]:
    """Serve files, by filename, from a thread of this process."""
    pages: dict[str, bytes] = {}
    for filename, data in files.items():
        page = f"/simple/{filename.split('-')[0].replace('_', '-')}/"
        digest = hashlib.sha256(data).hexdigest()
        link = f'<a href="{page}{filename}#sha256={digest}">{filename}</a>\n'
        pages[page] = pages.get(page, b"") + link.encode()
        pages[page + filename] = data

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            body = pages.get(unquote(self.path))
            self.send_response(404 if body is None else 200)
            kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    index = PublicIndex("")
    with serving(Handler) as url:
        index.url = f"{url}/simple/"
        yield index
