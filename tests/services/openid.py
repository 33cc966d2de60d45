"""A real provider of OpenID Connect: oidc-provider, which npm installs, in a process of its own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.npm import node, npm_package
from tests.ports import free_port
from tests.services.emulators import running

CLIENT: Final = "wheelyard"
SECRET: Final = "s3cret-of-the-client"
SCRIPT: Final = Path(__file__).with_name("oidc_provider.mjs")


@dataclass(frozen=True)
class RealProvider:
    """
    The provider, with the accounts of a file.

    Its host is `localhost`, which for a browser is another site than `127.0.0.1`.
    """

    port: int
    accounts: Path

    @property
    def issuer(self) -> str:
        """The issuer of the provider."""
        return f"http://localhost:{self.port}"

    def set_account(self, subject: str, **claims: object) -> None:
        """Change what it says of an account, or make one."""
        self._write({**self._read(), subject: claims})

    def delete_account(self, subject: str) -> None:
        """Delete an account."""
        accounts = self._read()
        del accounts[subject]
        self._write(accounts)

    def table(self, **more: object) -> str:
        """Return the `[[sign_in]]` table for it, with the name `acme`."""
        keys = {
            "name": "acme",
            "issuer": self.issuer,
            "client_id": CLIENT,
            "groups_claim": "groups",
            "allow_private": True,
            **more,
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
        return "\n".join(["", "[[sign_in]]", *lines, ""])

    def _read(self) -> dict[str, object]:
        accounts: dict[str, object] = json.loads(self.accounts.read_text())
        return accounts

    def _write(self, accounts: dict[str, object]) -> None:
        new = self.accounts.with_suffix(".new")
        new.write_text(json.dumps(accounts))
        new.replace(self.accounts)  # it is read at any time


@contextmanager
def running_oidc_provider(folder: Path) -> Iterator[RealProvider]:
    """Run a provider without accounts until the block ends."""
    accounts, port = folder / "accounts.json", free_port()
    accounts.write_text("{}")
    library = npm_package("oidc-provider") / "lib" / "index.js"
    command: list[str | Path] = [node(), SCRIPT, library, str(port), accounts, CLIENT, SECRET]
    with running(command, port, folder / "provider.txt"):
        yield RealProvider(port, accounts)
