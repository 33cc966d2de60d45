"""A server below `/team/` of another host, behind a real nginx."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bcrypt

from tests.browser.site import CONFIG, PASSWORD, TABLES, USER
from tests.http.servers import RunningServer, running_server
from tests.nginx import running_nginx
from tests.ports import free_port

TEAM: Final = "/team"
HOST: Final = "proxy_set_header Host $http_host;"


@dataclass(frozen=True)
class Setup:
    """
    How nginx forwards, and what the server is told of it.

    Args:
        takes_away: What nginx takes away from the beginning of each path, or an empty text.
        path_prefix: The setting.
        has_public_url: Whether the server is told its URL.
        passes_host: Whether nginx forwards the Host that browsers send.
        host: The host that browsers use, without a port.
    """

    takes_away: str = ""
    path_prefix: str = ""
    has_public_url: bool = True
    passes_host: bool = True
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Proxied:
    """A server, and the URL by which clients reach it, without a slash at its end."""

    server: RunningServer
    url: str


@contextmanager
def behind_nginx(
    folder: Path,
    setup: Setup,
    config: str = "",
    path: str = TEAM,
    environment: Mapping[str, str] | None = None,
    tables: str = "",
) -> Iterator[Proxied]:
    """Run a server that everybody may read, where one user may do everything, behind nginx."""
    port = free_port()
    url = f"http://{setup.host}:{port}{path}"
    server_table = f'[server]\npath_prefix = "{setup.path_prefix}"\n'
    if setup.has_public_url:
        server_table += f'public_url = "{url}"\n'
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "nginx").mkdir(parents=True)
    (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
    whole = server_table + CONFIG + config
    put = tables + TABLES
    with running_server(folder, config=whole, tables=put, environment=environment) as server:
        tail = "/" if setup.takes_away else ""
        place = f"{setup.takes_away or path}/"
        site = (
            f"server {{ listen 127.0.0.1:{port}; listen [::1]:{port};\n"
            f"client_max_body_size 0;\nlocation {place} {{\n"
            f"proxy_pass http://{server.address}{tail};\n"
            f"{HOST if setup.passes_host else ''}\n}} }}\n"
        )
        with running_nginx(folder / "nginx", site, port):
            yield Proxied(server, url)
