"""
The credentials of this process: obtained once for each host, and cached.

For a host off the list, or a user name of another password, no program is run and no server asked.
twine asks twice in one run and needs one answer; pip asks once for each index. So a credential,
or its absence, is cached for five minutes: longer than most processes last.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Final

from wheelyard_keyring.hosts import RequestedHost, parse_service
from wheelyard_keyring.runtime import Credential, Runtime, system_runtime
from wheelyard_keyring.settings import BadSettingError, Settings, real_settings

USERS: Final = frozenset({"", "oauth2accesstoken", "__token__", "oidc"})
"""User names that stand for any user. Other names have passwords in other keyring backends."""
CACHE_SECONDS: Final = 300.0
"""How long a credential is cached; every token is valid for longer."""


def system_cache() -> CredentialCache:
    """Return a cache with this process's settings and clocks."""
    return CredentialCache(real_settings, system_runtime())


class CredentialCache:
    """
    Finds and caches credentials for one process. Safe for use by several threads.

    Args:
        read_settings: Called once, at the first request; may raise BadSettingError.
        world: The clocks, and the function that prints messages.
    """

    def __init__(self, read_settings: Callable[[], Settings], runtime: Runtime) -> None:
        self._read_settings = read_settings
        self.runtime = runtime
        self.has_explained = False
        """Whether a message has said why a listed host, or every host, gets no credential."""
        self._settings: Settings | None = None
        self._cached: dict[str, tuple[float, Credential | None]] = {}
        self._insecure: set[str] = set()
        self._lock = RLock()

    def get(self, service: str, username: str | None) -> Credential | None:
        """
        Return the credential for a service; None if its host is not listed or no source has one.

        Args:
            service: A URL, as clients pass it; a host without a scheme gets nothing.
            username: The user that the client wants a password for, if it names one.
        """
        with self._lock:
            asked = self.allowed_host(service, username)
            if asked is None:
                return None
            now = self.runtime.monotonic()
            made, answer = self._cached.get(asked.root, (None, None))
            if made is None or now - made >= CACHE_SECONDS:
                from wheelyard_keyring.sources import Sources  # noqa: PLC0415 - for listed hosts

                answer = Sources(self._settings or Settings(), self.runtime).find(asked)
                self._cached[asked.root] = (self.runtime.monotonic(), answer)
            return answer

    def allowed_host(self, service: str, username: str | None) -> RequestedHost | None:
        """Return the host of a service; None if this backend may not send credentials there."""
        asked = parse_service(service) if (username or "") in USERS else None
        with self._lock:
            if asked is None or not self._lists(asked):
                return None
            return asked if self._is_safe(asked) else None

    def _lists(self, asked: RequestedHost) -> bool:
        if self._settings is None:
            try:
                self._settings = self._read_settings()
            except BadSettingError as error:
                self._settings = Settings()
                self._explain(f"{error} No host gets a credential until that is mended.")
        return self._settings.lists(asked)

    def _is_safe(self, asked: RequestedHost) -> bool:
        """Return whether transport to that host is encrypted or local; print a warning if not."""
        if not asked.is_safe and asked.root not in self._insecure:
            self._insecure.add(asked.root)
            self._explain(f"{asked.root} gets no credential over plain http: use https://.")
        return asked.is_safe

    def _explain(self, why: str) -> None:
        self.has_explained = True
        self.runtime.say(why)
