"""
Application default credentials, read by google-auth where that is installed.

Only those in a file are left to google-auth. It would find the metadata server too, but it asks it
through the proxies of the environment, and on a laptop it waits for it for many seconds.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from wheelyard_keyring.tokens import clean

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


class NotInstalledError(Exception):
    """google-auth, or requests which it needs, is not installed."""


def access_token(file: Path) -> str | None:
    """
    Return an access token for the credentials in a file, None if Google gives none.

    Raises:
        NotInstalledError: There is nothing to read that file with.
    """
    try:
        import google.auth  # noqa: PLC0415 - optional, and it takes a fifth of a second
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - ditto
        from google.auth.transport.requests import Request  # noqa: PLC0415 - ditto
    except ImportError as error:
        raise NotInstalledError from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files from strangers; this one is the person's
            load: Any = google.auth.load_credentials_from_file
            credentials, _ = load(str(file), scopes=SCOPES)
            credentials.refresh(Request())
    except (GoogleAuthError, OSError, ValueError):
        return None
    token = credentials.token
    return clean(token) if isinstance(token, str) else None
