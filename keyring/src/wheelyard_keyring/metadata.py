"""
Google's metadata server: whose machine this is, and a token for it.

It is asked directly, never through a proxy: a proxy would see the token, and would answer for its
own machine. Where its name does not resolve, this is not Google. Its answers carry the header
Metadata-Flavor; what does not is some other server, and is not believed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from socket import gaierror, timeout
from typing import Final
from urllib.parse import urlencode

from wheelyard_keyring.tokens import clean, clean_jwt
from wheelyard_keyring.world import World

ACCOUNT: Final = "/computeMetadata/v1/instance/service-accounts/default"
FLAVOR: Final = {"Metadata-Flavor": "Google"}
TIMEOUT: Final = 3.0
TRIES: Final = 3
FIRST_PAUSE: Final = 0.2
"""Seconds before the second try; doubled before the third."""
LARGEST: Final = 65_536
"""Bytes of an answer that are read."""


class NotAtGoogleError(Exception):
    """There is no metadata server here."""


@dataclass(frozen=True)
class MetadataServer:
    """
    The metadata server.

    Args:
        address: Host, or host and port.
        world: For pauses between tries.
    """

    address: str
    world: World

    def id_token(self, audience: str) -> str | None:
        """Return an ID token for an audience, None where there is none to be had."""
        query = urlencode({"audience": audience, "format": "full"})
        return clean_jwt(self._ask(f"{ACCOUNT}/identity?{query}") or "")

    def access_token(self) -> str | None:
        """Return an access token, None where there is none to be had."""
        try:
            answer = json.loads(self._ask(f"{ACCOUNT}/token") or "null")
        except ValueError:
            return None
        token = answer.get("access_token") if isinstance(answer, dict) else None
        return clean(token) if isinstance(token, str) else None

    def _ask(self, path: str) -> str | None:
        for turn in range(TRIES):
            if turn:
                self.world.pause(FIRST_PAUSE * 2 ** (turn - 1))
            try:
                status, body = self._once(path)
            except NotAtGoogleError:
                return None
            except (OSError, HTTPException):
                continue
            if status == HTTPStatus.OK:
                return body
            if status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
                return None
        return None

    def _once(self, path: str) -> tuple[int, str]:
        """
        Ask once; an answer that is not the metadata server's is a 404.

        Raises:
            NotAtGoogleError: Its name does not resolve, or nobody listens.
            OSError, HTTPException: Trying again may help.
        """
        connection = HTTPConnection(self.address, timeout=TIMEOUT)
        try:
            try:
                connection.connect()
            except (gaierror, timeout) as error:  # a TimeoutError only since Python 3.10
                raise NotAtGoogleError from error
            connection.request("GET", path, headers=FLAVOR)
            reply = connection.getresponse()
            if reply.getheader("Metadata-Flavor") != FLAVOR["Metadata-Flavor"]:
                return HTTPStatus.NOT_FOUND, ""
            return reply.status, reply.read(LARGEST).decode("utf-8", "replace")
        finally:
            connection.close()
