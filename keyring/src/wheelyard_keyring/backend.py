"""
The backend that keyring finds by its entry point.

Requests for credentials never raise: in keyring's chain of backends one exception ends the whole
chain, and pip then uses no keyring for the rest of its run. Requests to store a password go to the
next backend, unless they are for a host of the allow list.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from keyring.backend import KeyringBackend
from keyring.credentials import SimpleCredential
from keyring.errors import PasswordDeleteError, PasswordSetError

if TYPE_CHECKING:  # at run time the other modules are imported by the first request
    from wheelyard_keyring.credential_cache import CredentialCache
    from wheelyard_keyring.runtime import Credential


class WheelyardKeyring(KeyringBackend):
    """The keyring backend that has credentials for the hosts of the allow list, and stores none."""

    priority = 9.1
    """Tried before keyrings.google-artifactregistry-auth (9), below the chain of backends (10)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring left its types out
        self._cache: CredentialCache | None = None
        self._lock = Lock()

    def get_credential(self, service: str, username: str | None) -> SimpleCredential | None:
        """Return user name and password for the URL of an allowed host, or None; never raises."""
        found = self._get(service, username)
        return SimpleCredential(found.username, found.password) if found else None

    def get_password(self, service: str, username: str | None) -> str | None:
        """Return the password for the URL of an allowed host, or None; never raises."""
        found = self._get(service, username)
        return found.password if found else None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Always raise: PasswordSetError for an allowed host, else NotImplementedError."""
        del password
        if self._is_allowed(service, username):
            raise PasswordSetError("Tokens for this host are made when they are needed.")
        raise NotImplementedError("wheelyard-keyring stores no passwords.")

    def delete_password(self, service: str, username: str) -> None:
        """Always raise: PasswordDeleteError for an allowed host, else NotImplementedError."""
        if self._is_allowed(service, username):
            raise PasswordDeleteError("Tokens for this host are never stored.")
        raise NotImplementedError("wheelyard-keyring stores no passwords.")

    def _get(self, service: str, username: str | None) -> Credential | None:
        credentials = self._credentials()
        try:
            return credentials.get(service, username)
        except Exception as error:  # noqa: BLE001 - see above; its text could hold a secret
            credentials.runtime.say(f"This should not have happened: {type(error).__name__}.")
            return None

    def _is_allowed(self, service: str, username: str | None) -> bool:
        return self._credentials().allowed_host(service, username) is not None

    def _credentials(self) -> CredentialCache:
        from wheelyard_keyring.credential_cache import system_cache  # noqa: PLC0415 - see above

        with self._lock:
            if self._cache is None:
                self._cache = system_cache()
            return self._cache
