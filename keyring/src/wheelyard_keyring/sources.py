"""
Where a credential comes from: one source after the other, until one has it.

1. WHEELYARD_TOKEN, which is a token of the index itself; one that is malformed ends the search,
   because somebody who has set it means it, and not another identity.
2. The program that the settings name.
3. An ID token of the metadata server, which is good for this index and nothing else.
4. An access token: of application default credentials in a file, of the metadata server, of gcloud.

Whoever asks has seen to it that the host is on the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wheelyard_keyring.adc import NotInstalledError
from wheelyard_keyring.adc import access_token as access_token_of_file
from wheelyard_keyring.hosts import Asked
from wheelyard_keyring.metadata import MetadataServer
from wheelyard_keyring.programs import GCLOUD, printed_token
from wheelyard_keyring.settings import Settings
from wheelyard_keyring.tokens import Answer
from wheelyard_keyring.world import World

GOOGLE_USER: Final = "oauth2accesstoken"
TOKEN_USER: Final = "__token__"  # noqa: S105 - a user name, whatever it is called


@dataclass(frozen=True)
class Sources:
    """
    Everything that may have a credential.

    Args:
        settings: Which of them are asked.
        world: Where failures are told.
    """

    settings: Settings
    world: World

    def find(self, asked: Asked) -> Answer | None:
        """Return the first credential there is for a listed host, or say why there is none."""
        if self.settings.token:
            return Answer(TOKEN_USER, self.settings.token)
        if self.settings.has_bad_token:
            self.world.say(
                "WHEELYARD_TOKEN is not a token of a wheelyard, which is wyd_ and 48 letters and "
                "digits: mend it, or unset it."
            )
            return None
        for token in self._tokens(asked):
            if token:
                return Answer(GOOGLE_USER, token)
        self.world.say(f"There is no credential for {asked.address}. {self._advice()}")
        return None

    def _tokens(self, asked: Asked) -> Iterator[str | None]:
        mode = self.settings.mode
        server = MetadataServer(self.settings.metadata_server, self.world)
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
            self.world.say(
                f"The command {self.settings.command[0]!r} of the settings gave no token: it has "
                "to be a name in PATH or an absolute path, end with 0 within 10 seconds, and "
                "print the token alone."
            )
        return token

    def _filed(self) -> str | None:
        file = self.settings.credentials_file
        if file is None or not file.is_file():
            return None
        try:
            return access_token_of_file(file)
        except NotInstalledError:
            self.world.say(
                f"{file} is left aside, because google-auth is not installed: install "
                "wheelyard-keyring[google]."
            )
            return None

    def _advice(self) -> str:
        if self.settings.mode == "id_token":
            return (
                "Its metadata server gives a machine at Google an ID token; elsewhere set a "
                'command, or mode = "auto".'
            )
        return "Run `gcloud auth login`, or set WHEELYARD_TOKEN."
