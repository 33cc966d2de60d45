"""
The command `wheelyard-token HOST`, which prints a credential for tools without keyring.

Standard output has the password, or the URL, and nothing else; so $(wheelyard-token HOST) works.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from urllib.parse import quote

from wheelyard_keyring.credential_cache import system_cache
from wheelyard_keyring.hosts import RequestedHost
from wheelyard_keyring.runtime import Credential
from wheelyard_keyring.settings import FILE, VARIABLE


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the credential for a host; return 0, 1 if it has none, 2 if it is not allowed."""
    options = _parser().parse_args(arguments)
    credentials = system_cache()
    # a client's host alone may be one over http; what a person types, and is shown again, is not
    service = options.host if "://" in options.host else f"https://{options.host}"
    host = credentials.allowed_host(service, None)
    if host is None:
        if not credentials.has_explained:
            credentials.runtime.say(
                f"{options.host!r} is not on the list of hosts, which is {VARIABLE}, or hosts in "
                f"~/{FILE.as_posix()}."
            )
        return 2
    credential = credentials.get(service, None)
    if credential is None:
        return 1
    sys.stdout.write(f"{_url(host, credential) if options.url else credential.password}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wheelyard-token", description="Print a token for a wheelyard index."
    )
    parser.add_argument("host", metavar="HOST", help="a host on the list, host:port, or a URL")
    parser.add_argument(
        "--url", action="store_true", help="print the index URL with the token in it"
    )
    return parser


def _url(host: RequestedHost, credential: Credential) -> str:
    path = "/simple/" if host.path in {"", "/"} else host.path
    password = quote(credential.password, safe="")
    return f"{host.scheme}://{credential.username}:{password}@{host.address}{path}"


if __name__ == "__main__":
    sys.exit(main())
