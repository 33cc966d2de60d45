"""
The sources of credentials, tried in order until one has a token.

1. WHEELYARD_TOKEN, which is a token of the index itself; one that is malformed ends the search,
   because somebody who has set it means it, and not another identity.
2. The program that the settings name.
3. An ID token of the metadata server, which is good for this index and nothing else.
4. An access token: of application default credentials in a file, of the metadata server, of gcloud.

Whoever asks has seen to it that the host is on the list.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import gaierror, timeout
from typing import Any, Final
from urllib.parse import urlencode

from wheelyard_keyring.hosts import RequestedHost
from wheelyard_keyring.runtime import Credential, Runtime
from wheelyard_keyring.settings import Settings

GOOGLE_USER: Final = "oauth2accesstoken"
TOKEN_USER: Final = "__token__"  # noqa: S105 - a user name, whatever it is called
LONGEST: Final = 12_000
"""Characters of a token: what an index takes in one Authorization header, before Base64."""
LONGEST_JWT: Final = 8192
GCLOUD: Final = ("gcloud", "auth", "print-access-token")
TIMEOUT_SECONDS: Final = 10.0
"""Seconds that a program may take."""
SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
ACCOUNT: Final = "/computeMetadata/v1/instance/service-accounts/default"
FLAVOR: Final = {"Metadata-Flavor": "Google"}
TIMEOUT: Final = 3.0
"""Seconds that the metadata server may be silent."""
TRIES: Final = 3
FIRST_PAUSE: Final = 0.2
"""Seconds before the second try; doubled before the third."""
LARGEST: Final = 65_536
"""Bytes of an answer that are read."""

_PRINTABLE: Final = re.compile(r"[!-~]+")
_JWT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


@dataclass(frozen=True)
class Sources:
    """
    All sources of credentials.

    Args:
        settings: Which of them are asked.
        world: Where failures are told.
    """

    settings: Settings
    runtime: Runtime

    def find(self, asked: RequestedHost) -> Credential | None:
        """Return the first credential there is for a listed host, or say why there is none."""
        if self.settings.token:
            return Credential(TOKEN_USER, self.settings.token)
        if self.settings.has_bad_token:
            self.runtime.say(
                "WHEELYARD_TOKEN is not a token of a wheelyard, which is wyd_ and 48 letters and "
                "digits: mend it, or unset it."
            )
            return None
        token = next(filter(None, self._tokens(asked)), None)
        if token:
            return Credential(GOOGLE_USER, token)
        advice = "Run `gcloud auth login`, or set WHEELYARD_TOKEN."
        if self.settings.mode == "id_token":
            advice = (
                "Its metadata server gives a machine at Google an ID token; elsewhere set a "
                'command, or mode = "auto".'
            )
        self.runtime.say(f"There is no credential for {asked.address}. {advice}")
        return None

    def _tokens(self, asked: RequestedHost) -> Iterator[str | None]:
        mode = self.settings.mode
        server = MetadataServer(self.settings.metadata_server, self.runtime)
        if self.settings.command:
            yield self._commanded()
        if mode != "access_token":
            yield server.id_token(self.settings.audience or asked.root)
        if mode != "id_token":
            yield self._filed()
            yield server.access_token()
            yield printed_token(GCLOUD, self.settings.search_path, quiet=True)

    def _commanded(self) -> str | None:
        token = printed_token(self.settings.command, self.settings.search_path, quiet=False)
        if token is None:
            self.runtime.say(
                f"The command {self.settings.command[0]!r} of the settings gave no token: it has "
                "to be a name in PATH or an absolute path, end with 0 within 10 seconds, and "
                "print the token alone."
            )
        return token

    def _filed(self) -> str | None:
        """
        Return an access token for application default credentials, None if Google gives none.

        Only those in a file are left to google-auth. It would find the metadata server too, but it
        asks it through the proxies of the environment, and on a laptop it waits for it for long.
        """
        file = self.settings.credentials_file
        if file is None or not file.is_file():
            return None
        try:
            import google.auth  # noqa: PLC0415 - optional, and it takes a fifth of a second
            from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - ditto
            from google.auth.transport.requests import Request  # noqa: PLC0415 - ditto
        except ImportError:
            self.runtime.say(
                f"{file} is left aside, because google-auth is not installed: install "
                "wheelyard-keyring[google]."
            )
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of files from strangers; this is the person's
                load: Any = google.auth.load_credentials_from_file
                credentials, _ = load(str(file), scopes=SCOPES)
                credentials.refresh(Request())
        except (GoogleAuthError, OSError, ValueError):
            return None
        return _clean(credentials.token)


@dataclass(frozen=True)
class MetadataServer:
    """
    Google's metadata server: whose machine this is, and a token for it.

    It is asked directly, never through a proxy: a proxy would see the token, and would answer for
    its own machine. Where its name does not resolve, this is not Google. Its answers carry the
    header Metadata-Flavor; what does not is some other server, and is not believed.

    Args:
        address: Host, or host and port.
        world: For pauses between tries.
    """

    address: str
    runtime: Runtime

    def id_token(self, audience: str) -> str | None:
        """Return an ID token for an audience, None where there is none to be had."""
        query = urlencode({"audience": audience, "format": "full"})
        token = (self._ask(f"{ACCOUNT}/identity?{query}") or "").strip()
        return token if len(token) <= LONGEST_JWT and _JWT.fullmatch(token) else None

    def access_token(self) -> str | None:
        """Return an access token, None where there is none to be had."""
        try:
            answer = json.loads(self._ask(f"{ACCOUNT}/token") or "null")
        except ValueError:
            return None
        return _clean(answer.get("access_token")) if isinstance(answer, dict) else None

    def _ask(self, path: str) -> str | None:
        for turn in range(TRIES):
            if turn:
                self.runtime.pause(FIRST_PAUSE * 2 ** (turn - 1))
            try:
                status, body = self._once(path)
            except (OSError, HTTPException):
                continue
            if status == HTTPStatus.OK:
                return body
            if status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
                return None
        return None

    def _once(self, path: str) -> tuple[int, str]:
        """Ask once; where there is no metadata server, or another answers, that is a 404."""
        connection = HTTPConnection(self.address, timeout=TIMEOUT)
        try:
            with suppress(gaierror, timeout):  # a TimeoutError only since Python 3.10
                connection.connect()
            if connection.sock is None:
                return HTTPStatus.NOT_FOUND, ""
            connection.request("GET", path, headers=FLAVOR)
            reply = connection.getresponse()
            if reply.getheader("Metadata-Flavor") != FLAVOR["Metadata-Flavor"]:
                return HTTPStatus.NOT_FOUND, ""
            return reply.status, reply.read(LARGEST).decode("utf-8", "replace")
        finally:
            connection.close()


def printed_token(
    command: Sequence[str], search_path: str, *, quiet: bool, patience: float = TIMEOUT_SECONDS
) -> str | None:
    """
    Return the token that a program prints, None if it fails or prints anything else.

    It is run without a shell and without a terminal.

    Args:
        command: A program by its name or absolute path, and its arguments.
        search_path: Folders, as in PATH.
        quiet: Whether its messages are dropped; otherwise they go to standard error.
        patience: Seconds for it to end.
    """
    program = _find_program(command[0], search_path)
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the person's own settings, or gcloud
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            check=False,
            timeout=patience,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return _clean(done.stdout.decode("ascii", "replace")) if done.returncode == 0 else None


def _find_program(name: str, search_path: str) -> str | None:
    """
    Return the absolute path of a program, None if there is none.

    It is looked up in the absolute folders of PATH alone. An empty or relative entry, and the
    current folder that Windows adds, would let whoever wrote the project one works on run a
    `gcloud` of their own.
    """
    if os.path.dirname(name):  # noqa: PTH120 - a Path would lose the ./ that tells
        return name if Path(name).is_absolute() else None
    folders = [each for each in search_path.split(os.pathsep) if Path(each).is_absolute()]
    found = shutil.which(name, path=os.pathsep.join(folders)) if folders else None
    return found if found and Path(found).is_absolute() else None


def _clean(printed: object) -> str | None:
    """Return the token in a program's output; None unless it is one line of one word."""
    token = printed.strip() if isinstance(printed, str) else ""
    return token if len(token) <= LONGEST and _PRINTABLE.fullmatch(token) else None
