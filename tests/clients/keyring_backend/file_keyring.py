"""A keyring that is a file in the open, for programs that tests start."""  # noqa: INP001 - alone

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class FileKeyring(KeyringBackend):
    """Keeps passwords in the file of `FILE_KEYRING`, and needs user names, as that of macOS."""

    priority = 1

    def get_password(self, service: str, username: str) -> "str | None":
        """Return a password, or None."""
        return self._load().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        """Store a password."""
        self._save({**self._load(), f"{service} {username}": password})

    def delete_password(self, service: str, username: str) -> None:
        """Remove a password."""
        stored = self._load()
        if f"{service} {username}" not in stored:
            raise PasswordDeleteError("there is none")
        del stored[f"{service} {username}"]
        self._save(stored)

    def _load(self) -> "dict[str, str]":
        return json.loads(_file().read_text()) if _file().exists() else {}

    def _save(self, stored: "dict[str, str]") -> None:
        _file().write_text(json.dumps(stored))


def _file() -> Path:
    return Path(os.environ["FILE_KEYRING"])  # noqa: TID251 - of a program of its own
