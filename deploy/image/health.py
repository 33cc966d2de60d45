"""
The image's health check: requests `/health` from the server in this container.

It reads the port from the server's variables. It imports little, because it runs twice a minute.
"""

import os
import socket
import sys

PORT_VARIABLES = ("WHEELYARD_PORT", "WHEELYARD_SERVER_PORT", "PORT", "PYPISERVER_PORT")
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TIMEOUT_SECONDS = 4.0
"""Less than the timeout of Docker's health check."""


def main() -> int:
    """Return 0 if `/health` answers 200; else print the result and return 1."""
    port = next(filter(None, map(os.environ.get, PORT_VARIABLES)), "8080")
    try:
        with socket.create_connection(("127.0.0.1", int(port)), TIMEOUT_SECONDS) as connection:
            connection.sendall(REQUEST)
            answer = connection.recv(64)
    except (OSError, ValueError) as error:
        print(f"nothing answers on port {port}: {error}")
        return 1
    if answer.split(b" ")[1:2] == [b"200"]:
        return 0
    print(f"/health on port {port} answered {answer!r}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
