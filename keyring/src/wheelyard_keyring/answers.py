"""
What is answered to whom, remembered for a while.

A foreign host, or a user name that is not ours, gets nothing, and nothing is run or asked for it.
twine asks twice in one run and has to hear the same; pip asks once for each index. So an answer,
and that there is none, is kept for the life of a short process. A long one asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Final

from wheelyard_keyring.hosts import Asked, parse_service
from wheelyard_keyring.settings import BadSettingError, Settings, real_settings
from wheelyard_keyring.world import Answer, World, real_world

USERS: Final = frozenset({"", "oauth2accesstoken", "__token__", "oidc"})
"""Names that mean: whoever I am. Another name has a password of its own, kept elsewhere."""
FRESH: Final = 300.0
"""Seconds that an answer is repeated; tokens last longer than that."""


def real_answers() -> Answers:
    """Return the answers for the person who runs this process."""
    return Answers(real_settings, real_world())


class Answers:
    """
    The answers of one process.

    Args:
        read_settings: Called once, when the first question comes; may raise BadSettingError.
        world: Where time comes from, and where messages go.
    """

    def __init__(self, read_settings: Callable[[], Settings], world: World) -> None:
        self._read_settings = read_settings
        self.world = world
        self.has_objected = False
        """Whether it was said why some listed host, or every host, gets nothing."""
        self._settings: Settings | None = None
        self._kept: dict[str, tuple[float, Answer | None]] = {}
        self._insecure: set[str] = set()
        self._lock = RLock()

    def get(self, service: str, username: str | None) -> Answer | None:
        """
        Return the credential for a service, None if it is not ours to give or there is none.

        Args:
            service: A URL, as clients pass it; a host without a scheme gets nothing.
            username: Whom the client wants to be, if it knows.
        """
        with self._lock:
            asked = self.ours(service, username)
            if asked is None:
                return None
            now = self.world.monotonic()
            made, answer = self._kept.get(asked.root, (None, None))
            if made is None or now - made >= FRESH:
                from wheelyard_keyring.sources import Sources  # noqa: PLC0415 - for listed hosts

                answer = Sources(self._settings or Settings(), self.world).find(asked)
                self._kept[asked.root] = (self.world.monotonic(), answer)
            return answer

    def ours(self, service: str, username: str | None) -> Asked | None:
        """Return the host that a service is on, None if it is not ours to answer for."""
        asked = parse_service(service) if (username or "") in USERS else None
        with self._lock:
            if asked is None or not self._lists(asked):
                return None
            return asked if self._is_safe(asked) else None

    def _lists(self, asked: Asked) -> bool:
        if self._settings is None:
            try:
                self._settings = self._read_settings()
            except BadSettingError as error:
                self._settings = Settings()
                self._object(f"{error} No host gets a credential until that is mended.")
        return self._settings.lists(asked)

    def _is_safe(self, asked: Asked) -> bool:
        """Whether a credential may travel to that host."""
        if not asked.is_safe and asked.root not in self._insecure:
            self._insecure.add(asked.root)
            self._object(f"{asked.root} gets no credential over plain http: use https://.")
        return asked.is_safe

    def _object(self, why: str) -> None:
        self.has_objected = True
        self.world.say(why)
