"""
The access token of this machine for Google's registries.

Google's library finds the credentials itself: the file that GOOGLE_APPLICATION_CREDENTIALS names,
gcloud's login, or the metadata server. It is imported by the first request.
"""

from threading import Lock
from typing import Any, Final

from wheelyard.errors import missing_extra
from wheelyard.http_client.hosts import FetchError

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


class GoogleToken:
    """
    The access token of this machine, fetched when it is needed. Threads may share it.

    Raises Invalid (code `bad_setting`) if the library for it is not installed.
    """

    def __init__(self) -> None:
        try:  # takes 40 MB of memory, so only a process with such an upstream index imports it
            import google.auth.transport.requests  # noqa: F401, PLC0415 - ditto
        except ImportError:
            raise missing_extra("upstream.google", "google-auth", "gcs", "gcs") from None
        self._credentials: Any = None
        self._lock = Lock()

    def authorization(self) -> str:
        """
        Return an Authorization header with the token, which is refreshed if it has expired.

        Raises FetchError if Google gives no token, or the machine has no usable credentials.
        """
        import google.auth  # noqa: PLC0415 - as above
        from google.auth import exceptions  # noqa: PLC0415 - ditto
        from google.auth.transport.requests import Request  # noqa: PLC0415 - ditto

        try:
            # one thread refreshes the token; the others wait for it, and use the same
            with self._lock:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=SCOPES)
                if not self._credentials.valid:
                    self._credentials.refresh(Request())
                return f"Bearer {self._credentials.token}"
        except exceptions.TransportError:
            why = "Google gives no access token for it now"
            raise FetchError(why, is_transient=True) from None
        except (exceptions.GoogleAuthError, OSError, ValueError):
            # not chained: the text may quote a key file
            why = "this machine has no usable credentials of Google for it"
            raise FetchError(why) from None
