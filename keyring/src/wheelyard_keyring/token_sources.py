"""
The sources of credentials, tried in order until one has a token.

1. WHEELYARD_TOKEN, an API token of the index. A malformed one ends the search: a user who sets it
   does not want another identity.
2. The command of the settings.
3. An ID token of the metadata server, which is valid for one audience, by default this index.
4. An access token: of application default credentials in a file, of the metadata server, of gcloud.

The setting `mode` can leave out 3 or 4. The caller has checked that the host is on the allow list.
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
TOKEN_LIMIT_CHARS: Final = 12_000
"""The longest token that an index accepts in an Authorization header, before Base64."""
JWT_LIMIT_CHARS: Final = 8192
GCLOUD_COMMAND: Final = ("gcloud", "auth", "print-access-token")
COMMAND_TIMEOUT_SECONDS: Final = 10.0
SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
ACCOUNT_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default"
METADATA_HEADER: Final = {"Metadata-Flavor": "Google"}
SERVER_TIMEOUT_SECONDS: Final = 3.0
MAX_ATTEMPTS: Final = 3
FIRST_PAUSE_SECONDS: Final = 0.2
"""Before the second attempt; doubled before the third."""
RESPONSE_LIMIT_BYTES: Final = 65_536

_PRINTABLE: Final = re.compile(r"[!-~]+")
_JWT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


@dataclass(frozen=True)
class TokenSources:
    """Finds a credential for a host, from the first source that has one."""

    settings: Settings
    runtime: Runtime

    def find(self, host: RequestedHost) -> Credential | None:
        """Return the credential of the first source that has one; or print why, and return None."""
        if self.settings.token:
            return Credential(TOKEN_USER, self.settings.token)
        if self.settings.has_bad_token:
            self.runtime.say(
                "WHEELYARD_TOKEN is not a token of a wheelyard, which is wyd_ and 48 letters and "
                "digits: mend it, or unset it."
            )
            return None
        token = next(filter(None, self._tokens(host)), None)
        if token:
            return Credential(GOOGLE_USER, token)
        advice = "Run `gcloud auth login`, or set WHEELYARD_TOKEN."
        if self.settings.mode == "id_token":
            advice = (
                "Its metadata server gives a machine at Google an ID token; elsewhere set a "
                'command, or mode = "auto".'
            )
        self.runtime.say(f"There is no credential for {host.address}. {advice}")
        return None

    def _tokens(self, host: RequestedHost) -> Iterator[str | None]:
        mode = self.settings.mode
        server = MetadataServer(self.settings.metadata_server, self.runtime)
        if self.settings.command:
            yield self._from_command()
        if mode != "access_token":
            yield server.id_token(self.settings.audience or host.root)
        if mode != "id_token":
            yield self._from_credentials_file()
            yield server.access_token()
            yield token_from_command(GCLOUD_COMMAND, self.settings.search_path, quiet=True)

    def _from_command(self) -> str | None:
        token = token_from_command(self.settings.command, self.settings.search_path, quiet=False)
        if token is None:
            self.runtime.say(
                f"The command {self.settings.command[0]!r} of the settings gave no token: it has "
                "to be a name in PATH or an absolute path, end with 0 within 10 seconds, and "
                "print the token alone."
            )
        return token

    def _from_credentials_file(self) -> str | None:
        """
        Return an access token for the application default credentials in a file, or None.

        google-auth is used for files only; a message says if it is not installed. It could ask the
        metadata server as well, but it does so through the proxies of the environment, and waits
        long where there is no such server.
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
    Google's metadata server, which has tokens for the service account of the machine.

    It is never asked through a proxy, which would see the token, and would answer for its own
    machine. A response without the header Metadata-Flavor is from another server, and ignored.

    Args:
        address: Host, or host and port.
        runtime: The function that waits between attempts.
    """

    address: str
    runtime: Runtime

    def id_token(self, audience: str) -> str | None:
        """Return an ID token for an audience, or None if the metadata server gives none."""
        query = urlencode({"audience": audience, "format": "full"})
        token = (self._ask(f"{ACCOUNT_PATH}/identity?{query}") or "").strip()
        return token if len(token) <= JWT_LIMIT_CHARS and _JWT.fullmatch(token) else None

    def access_token(self) -> str | None:
        """Return an access token, or None if the metadata server gives none."""
        try:
            answer = json.loads(self._ask(f"{ACCOUNT_PATH}/token") or "null")
        except ValueError:
            return None
        return _clean(answer.get("access_token")) if isinstance(answer, dict) else None

    def _ask(self, path: str) -> str | None:
        for turn in range(MAX_ATTEMPTS):
            if turn:
                self.runtime.pause(FIRST_PAUSE_SECONDS * 2 ** (turn - 1))
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
        """Send one GET request; return status and body, or 404 if there is no metadata server."""
        connection = HTTPConnection(self.address, timeout=SERVER_TIMEOUT_SECONDS)
        try:
            with suppress(gaierror, timeout):  # a TimeoutError only since Python 3.10
                connection.connect()
            if connection.sock is None:
                return HTTPStatus.NOT_FOUND, ""
            connection.request("GET", path, headers=METADATA_HEADER)
            reply = connection.getresponse()
            if reply.getheader("Metadata-Flavor") != METADATA_HEADER["Metadata-Flavor"]:
                return HTTPStatus.NOT_FOUND, ""
            return reply.status, reply.read(RESPONSE_LIMIT_BYTES).decode("utf-8", "replace")
        finally:
            connection.close()


def token_from_command(
    command: Sequence[str],
    search_path: str,
    *,
    quiet: bool,
    timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
) -> str | None:
    """
    Return the token that a command prints; None if it fails, is slow, or prints anything else.

    The command runs without a shell and without a terminal. With `quiet` its messages are dropped;
    otherwise they go to standard error. The program is searched in `search_path`, a PATH.
    """
    program = _find_program(command[0], search_path)
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - from the user's settings, or gcloud
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            check=False,
            timeout=timeout_seconds,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return _clean(done.stdout.decode("ascii", "replace")) if done.returncode == 0 else None


def _find_program(name: str, search_path: str) -> str | None:
    """
    Return the absolute path of a program by its name, or None.

    An absolute path is returned unchanged. Only absolute folders of `search_path` are searched. An
    empty or relative entry, and the current folder that Windows adds, would let the author of a
    project run a `gcloud` of their own.
    """
    if os.path.dirname(name):  # noqa: PTH120 - a Path would lose the ./ that tells
        return name if Path(name).is_absolute() else None
    folders = [each for each in search_path.split(os.pathsep) if Path(each).is_absolute()]
    found = shutil.which(name, path=os.pathsep.join(folders)) if folders else None
    return found if found and Path(found).is_absolute() else None


def _clean(printed: object) -> str | None:
    """Return a printed token without blanks around it; None unless it is one printable word."""
    token = printed.strip() if isinstance(printed, str) else ""
    return token if len(token) <= TOKEN_LIMIT_CHARS and _PRINTABLE.fullmatch(token) else None
