"""Other programs that serve packages, each as its users run it, with one worker."""

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.load import upload_all
from benchmarks.servers import Server, basic, installed, printed_by, serving
from benchmarks.stores import Wheel
from tests.clients.harness import REPOSITORY, new_sandbox, program
from tests.migration.systems import PASSWORD, new_devpi
from tests.ports import free_port

DEVPI_USER = "root"
DEVPI_INDEX = f"/{DEVPI_USER}/bench"
PROXPI_THREADS = "50"
"""As many as devpi-server has, and as uv has downloads at a time; its image has 2."""
SOURCE = {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
"""The variable by which modules of `benchmarks` are found."""
NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error;
events {{ worker_connections 1024; }}
http {{
    {scratch}
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    gzip_static on;
    types {{ application/vnd.pypi.simple.v1+json json; }}
    default_type application/octet-stream;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def nginx(root: Path, folder: Path, page: str) -> Iterator[Server | None]:
    """
    Run nginx on the files below `root` until the block ends; yield None if it is not installed.

    It has answered `page`. It keeps its own files in `folder`.
    """
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        yield None
        return
    port, config = free_port(), folder / "nginx.conf"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    scratch = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    config.write_text(NGINX.format(folder=folder, scratch=scratch, port=port, root=root))
    command = [found, "-p", str(folder), "-c", str(config), "-e", f"{folder}/nginx.error"]
    with serving(port, command, folder / "nginx.printed", page, "", "nobody") as server:
        yield server


@contextmanager
def simple_repository_server(folder: Path) -> Iterator[Server]:
    """Run simple-repository-server on a folder with a folder for each project; yield it."""
    port = free_port()
    command = [str(program("simple-repository-server")), "--host", "127.0.0.1"]
    command += ["--port", str(port), str(folder)]
    with serving(port, command, printed_by(folder), "/simple/", "", "nobody") as server:
        yield server


@contextmanager
def devpi(folder: Path, wheels: Iterable[Wheel]) -> Iterator[Server]:
    """Run devpi-server, offline, with an index that has these wheels; yield it."""
    with _devpi(folder, {"bases": []}, "--offline-mode") as server:
        upload_all(server, (wheel.form() for wheel in wheels))
        yield server


@contextmanager
def devpi_mirror(folder: Path, url: str) -> Iterator[Server]:
    """
    Run devpi-server with an index that mirrors the one at `url`; yield it.

    It passes core metadata on, which it does not by default: without, clients take longer.
    """
    mirror = {"type": "mirror", "mirror_url": url, "mirror_provides_core_metadata": True}
    with _devpi(folder, mirror, "--enable-core-metadata") as server:
        yield server


@contextmanager
def proxpi(folder: Path, url: str) -> Iterator[Server]:
    """Run proxpi before the index at `url`, as its image does but with more threads; yield it."""
    port = free_port()
    command = [str(program("proxpi", "gunicorn")), "--preload", "--bind", f"127.0.0.1:{port}"]
    command += ["--threads", PROXPI_THREADS, "proxpi.server:app"]
    variables = {"PROXPI_INDEX_URL": url, "PROXPI_CACHE_DIR": str(folder)}
    printed = printed_by(folder)
    with serving(port, command, printed, "/", "", "nobody", more=variables) as server:
        yield server


@contextmanager
def _devpi(folder: Path, index: dict[str, object], *options: str) -> Iterator[Server]:
    """Run devpi-server, with an index of these settings; yield it."""
    made = new_devpi(new_sandbox(folder))
    command = [str(program("devpi", "devpi-server")), "--serverdir", str(made.folder)]
    command += ["--host", "127.0.0.1", "--port", str(made.port), *options]
    login = basic(DEVPI_USER, PASSWORD)
    upload = f"{DEVPI_INDEX}/"
    printed = printed_by(folder)
    with serving(made.port, command, printed, "/+api", upload, login) as server:
        _make_index(server, index)
        yield server


def _make_index(server: Server, index: dict[str, object]) -> None:
    connection = HTTPConnection("127.0.0.1", server.port)
    headers = {"Authorization": server.authorization, "Content-Type": "application/json"}
    connection.request("PUT", DEVPI_INDEX, json.dumps(index), headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"devpi-server answered {answer.status}: {said[:300]!r}")


@contextmanager
def bare(interface: str, body: Path, folder: Path) -> Iterator[Server]:
    """Run `bare_server`, which answers with what is in `body`.gz; yield it."""
    port, printed = free_port(), folder / f"bare-{interface}.printed"
    command = [sys.executable, "-m", "benchmarks.bare_server", interface, str(port), f"{body}.gz"]
    with serving(port, command, printed, "/", "", "nobody", more=SOURCE) as server:
        yield server


@contextmanager
def unmeasured(store: Path, page: str) -> Iterator[Server]:
    """Run `unmeasured_server` on a store, wheelyard without metrics; yield it."""
    port, printed = free_port(), store.parent / "unmeasured.printed"
    command = [str(installed()), "-m", "benchmarks.unmeasured_server", "serve"]
    command += ["--port", str(port), "--store", str(store)]
    with serving(port, command, printed, page, "", "nobody", more=SOURCE) as server:
        yield server
