"""Plain web servers, which know nothing of packages."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.harness import REPOSITORY, Sandbox, system_program
from tests.clients.servers import free_port, running
from tests.waiting import TIMEOUT_SECONDS

GUIDE = REPOSITORY / "docs" / "static-site.md"
DOCUMENTED_ROOT = "/srv/packages"
"""Of the recipe in the guide."""


@dataclass(frozen=True)
class WebServer:
    """
    A running web server.

    Args:
        address: Host and port.
        log: Where it writes what it was asked.
    """

    address: str
    log: Path

    def asked(self, pattern: str) -> int:
        """Return how many lines of its log match."""
        return len(re.findall(pattern, self.log.read_text()))


@contextmanager
def nginx_web(root: Path, folder: Path) -> Iterator[WebServer]:
    """Serve a folder with nginx, as the guide has it; `folder` is for its own files."""
    port = free_port()
    (recipe,) = re.findall(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    recipe = recipe.replace("listen 80;", f"listen 127.0.0.1:{port};")
    recipe = recipe.replace(DOCUMENTED_ROOT, str(root))
    assert str(root) in recipe
    assert str(port) in recipe
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\n{places}access_log {folder}/web.log;\n"
        f"types {{ text/html html; application/json json; }}\n{recipe}}}\n"
    )
    (folder / "web.log").touch()
    command = [system_program("nginx"), "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    with _running([*command, "-e", f"{folder}/error.log"], port, folder / "out.log") as web:
        yield WebServer(web.address, folder / "web.log")


@contextmanager
def _running(command: Sequence[str], port: int, log: Path) -> Iterator[WebServer]:
    address, sandbox = f"127.0.0.1:{port}", Sandbox(log.parent, log.parent)
    with running(sandbox, command, log, lambda: _answers(address), {}, is_ours=False):
        yield WebServer(address, log)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=TIMEOUT_SECONDS):
            return True
    except urllib.error.HTTPError as answer:
        with answer:
            return True
    except OSError:  # not listening yet
        return False
