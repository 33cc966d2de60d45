"""nginx on a free port, without the settings, the logs and the rights of the machine's own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.harness import Sandbox, system_program
from tests.http_server import running_program

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def running_nginx(folder: Path, servers: str, port: int) -> Iterator[Path]:
    """
    Run nginx until the block ends, and yield its log.

    `servers` are its `server` blocks, which listen on a port of this machine.
    """
    log = folder / "log.txt"
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in _TEMPORARY)
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {log};\n"
        f"events {{}}\nhttp {{\n{places}access_log {log};\n"
        f"types {{ text/html html; application/json json; }}\n{servers}}}\n"
    )
    command = [system_program("nginx"), "-p", f"{folder}", "-c", f"{folder}/nginx.conf"]

    def is_up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    sandbox = Sandbox(folder, folder)
    with running_program(
        sandbox, [*command, "-e", str(log)], folder / "out.txt", is_up, {}, is_ours=False
    ):
        yield log
