"""
The image's health check: requests `/health` from the server in this container.

It reads the port from the server's variables. It imports little, because it runs twice a minute.
"""

import os
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PORT_VARIABLES = ("WHEELYARD_SERVER_PORT", "PORT", "PYPISERVER_PORT")
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TIMEOUT_SECONDS = 4.0
"""Less than the timeout of Docker's health check."""
TLS_ALERT = b"\x15\x03"
"""How a server that speaks TLS begins its answer to a plain request."""


def ask(port: int, wrap: "Callable[[socket.socket], socket.socket]") -> bytes:
    """Return the beginning of the response at a port."""
    address = ("127.0.0.1", port)
    with socket.create_connection(address, TIMEOUT_SECONDS) as plain, wrap(plain) as connection:
        connection.sendall(REQUEST)
        return connection.recv(64)


def with_tls(plain: socket.socket) -> socket.socket:
    """Speak TLS, for a server with `[server] certificate`; this machine is not verified."""
    import ssl  # noqa: PLC0415 - only for such a server

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def main() -> int:
    """Return 0 if `/health` answers 200; else print the result and return 1."""
    given = filter(None, map(os.environ.get, PORT_VARIABLES))
    port = next((each for each in given if "://" not in each), "8080")  # a Service of Kubernetes
    try:
        answer = ask(int(port), lambda connection: connection)
        if answer.startswith(TLS_ALERT):
            answer = ask(int(port), with_tls)
    except (OSError, ValueError) as error:
        print(f"nothing answers on port {port}: {error}")
        return 1
    if answer.split(b" ")[1:2] == [b"200"]:
        return 0
    print(f"/health on port {port} answered {answer!r}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
