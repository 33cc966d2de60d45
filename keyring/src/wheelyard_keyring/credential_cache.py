"""
The credentials of this process: obtained once for each host, and cached.

For a host off the list, or a user name of another password, no program is run and no server is
asked. twine asks twice in one run and needs one answer; pip asks once for each index. So a
credential, or its absence, is cached for five minutes: longer than most processes last.
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
    """Return a new, empty cache with the settings, clocks and messages of this process."""
    return CredentialCache(real_settings, system_runtime())


class CredentialCache:
    """
    Finds and caches credentials for one process. Safe for use by several threads.

    Args:
        read_settings: Called once, for the first valid URL; may raise BadSettingError.
        runtime: The clocks, and the function that prints messages.
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
        Return the cached or new credential for a URL; None if not allowed or no source has one.

        `username` is the user that the client wants, if any. One outside of `USERS` gets nothing,
        and neither does a host without a scheme.
        """
        with self._lock:
            host = self.allowed_host(service, username)
            if host is None:
                return None
            now = self.runtime.monotonic()
            made_at, credential = self._cached.get(host.root, (None, None))
            if made_at is None or now - made_at >= CACHE_SECONDS:
                from wheelyard_keyring.token_sources import TokenSources  # noqa: PLC0415 - for listed hosts

                sources = TokenSources(self._settings or Settings(), self.runtime)
                credential = sources.find(host)
                self._cached[host.root] = (self.runtime.monotonic(), credential)
            return credential

    def allowed_host(self, service: str, username: str | None) -> RequestedHost | None:
        """
        Return the host of a URL; None if it is not listed, unsafe, or for another user name.

        Prints a message, once for each host, if a listed host would get it over plain http.
        """
        host = parse_service(service) if (username or "") in USERS else None
        with self._lock:
            if host is None or not self._lists(host):
                return None
            return host if self._is_safe(host) else None

    def _lists(self, host: RequestedHost) -> bool:
        if self._settings is None:
            try:
                self._settings = self._read_settings()
            except BadSettingError as error:
                self._settings = Settings()
                self._explain(f"{error} No host gets a credential until that is mended.")
        return self._settings.lists(host)

    def _is_safe(self, host: RequestedHost) -> bool:
        """Return whether transport to that host is encrypted or local; if not, print that once."""
        if not host.is_safe and host.root not in self._insecure:
            self._insecure.add(host.root)
            self._explain(f"{host.root} gets no credential over plain http: use https://.")
        return host.is_safe

    def _explain(self, why: str) -> None:
        self.has_explained = True
        self.runtime.say(why)
