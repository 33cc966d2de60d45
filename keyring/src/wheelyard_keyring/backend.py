"""
The backend that keyring finds by its entry point.

It never raises when it is asked: behind keyring's chain of backends an exception of one silences
all, and pip then does without a keyring for the rest of its run. What it is asked to store is left
to the next backend, unless it is for a host that it answers for itself.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from keyring.backend import KeyringBackend
from keyring.credentials import SimpleCredential
from keyring.errors import PasswordDeleteError, PasswordSetError

if TYPE_CHECKING:  # the rest of us is imported with the first question
    from wheelyard_keyring.credential_cache import CredentialCache
    from wheelyard_keyring.runtime import Credential


class WheelyardKeyring(KeyringBackend):
    """Hands out Google's tokens, and those of WHEELYARD_TOKEN, for the hosts on the list."""

    priority = 9.1
    """Before keyrings.google-artifactregistry-auth (9), after the chain of all (10)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring left its types out
        self._made: CredentialCache | None = None
        self._lock = Lock()

    def get_credential(self, service: str, username: str | None) -> SimpleCredential | None:
        """Return user name and password for a listed host, else None."""
        answer = self._get(service, username)
        return SimpleCredential(answer.username, answer.password) if answer else None

    def get_password(self, service: str, username: str | None) -> str | None:
        """Return the password for a listed host, else None."""
        answer = self._get(service, username)
        return answer.password if answer else None

    def set_password(self, service: str, username: str, password: str) -> None:
        """
        Store nothing.

        Raises:
            PasswordSetError: This backend answers for that host and user name by itself.
            NotImplementedError: It does not, so the next backend is asked.
        """
        del password
        if self._is_ours(service, username):
            raise PasswordSetError("Tokens for this host are made when they are needed.")
        raise NotImplementedError("wheelyard-keyring stores no passwords.")

    def delete_password(self, service: str, username: str) -> None:
        """
        Delete nothing.

        Raises:
            PasswordDeleteError: This backend answers for that host and user name by itself.
            NotImplementedError: It does not, so the next backend is asked.
        """
        if self._is_ours(service, username):
            raise PasswordDeleteError("Tokens for this host are never stored.")
        raise NotImplementedError("wheelyard-keyring stores no passwords.")

    def _get(self, service: str, username: str | None) -> Credential | None:
        credentials = self._credentials()
        try:
            return credentials.get(service, username)
        except Exception as error:  # noqa: BLE001 - see above; its text could hold a secret
            credentials.runtime.say(f"This should not have happened: {type(error).__name__}.")
            return None

    def _is_ours(self, service: str, username: str | None) -> bool:
        return self._credentials().allowed_host(service, username) is not None

    def _credentials(self) -> CredentialCache:
        from wheelyard_keyring.credential_cache import system_cache  # noqa: PLC0415 - see above

        with self._lock:
            if self._made is None:
                self._made = system_cache()
            return self._made
