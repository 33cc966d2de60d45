"""`wheelyard login` in a terminal, and the person who looks at its page in a browser."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.browser.axe import violations
from tests.browser.chromium import Browser, Person
from tests.browser.site import PASSWORD, USER, running_site
from tests.clients.harness import SOURCE, Sandbox, new_sandbox
from tests.http.servers import RunningServer
from tests.http_server import TOKEN, WHEELYARD
from tests.logins import shown
from tests.waiting import TIMEOUT_SECONDS, until

pytestmark = pytest.mark.integration

WITHOUT_KEYRING: Final = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server where Ana has a password."""
    with running_site(tmp_path_factory.mktemp("site")) as server:
        yield server


@dataclass(frozen=True)
class Terminal:
    """A `wheelyard login` that waits in a terminal, on a machine of its own."""

    sandbox: Sandbox
    process: "subprocess.Popen[bytes]"
    printed: Path

    @property
    def path_and_code(self) -> tuple[str, str]:
        """The path of the page, and the code to type there."""
        until(lambda: shown(self.printed.read_text()) is not None)
        url, code = shown(self.printed.read_text()) or ("", "")
        return urlsplit(url)._replace(scheme="", netloc="").geturl(), code

    def ended(self) -> tuple[int, str]:
        """Wait until it ends, and return its status and what it has printed."""
        return self.process.wait(TIMEOUT_SECONDS), self.printed.read_text()


@contextmanager
def terminal(folder: Path, url: str, *options: str) -> Iterator[Terminal]:
    """Run `wheelyard login`."""
    sandbox, printed = new_sandbox(folder), folder / "printed.txt"
    with printed.open("wb") as errors:
        process = subprocess.Popen(
            [*WHEELYARD, "login", url, "--no-browser", *options],
            cwd=sandbox.folder,
            env=sandbox.environment() | SOURCE | WITHOUT_KEYRING,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
        try:
            yield Terminal(sandbox, process, printed)
        finally:
            process.kill()
            process.wait(TIMEOUT_SECONDS)


def open_and_sign_in(person: Person, path: str) -> None:
    """Open the page of a login, and sign in on the way to it."""
    assert person.open(path) == 401
    person.follow("Sign in")
    person.page.get_by_label("User name").fill(USER)
    person.page.get_by_label("Password").fill(PASSWORD)
    person.press("Sign in")
    person.page.wait_for_url(f"**{path}")


def assert_accessible(person: Person) -> None:
    """Expect that axe-core finds nothing, which itself is a script."""
    assert not person.has_scripts or violations(person) == []


@pytest.mark.parametrize(
    "has_scripts",
    [True, pytest.param(False, marks=pytest.mark.weekly)],
    ids=["scripts", "no-scripts"],
)
def test_a_person_refuses_one_login_and_approves_another(
    browser: Browser, site: RunningServer, tmp_path: Path, *, has_scripts: bool
) -> None:
    """A person compares what a terminal shows with the page, and refuses it or lets it go on."""
    asked = ("--project", "acme-*", "--days", "7", "--name", "my laptop")
    with (
        terminal(tmp_path / "thief", site.url) as thief,
        terminal(tmp_path / "laptop", site.url, *asked) as laptop,
        browser.person(site.url, java_script_enabled=has_scripts) as person,
    ):
        open_and_sign_in(person, thief.path_and_code[0])
        person.press("Refuse")
        assert "The program gets no token" in person.page.inner_text("main [role=status]")

        path, code = laptop.path_and_code
        person.open(path)
        assert code not in person.text
        assert "It has asked from\n127.0.0.1, as your browser" in person.text
        assert "read and upload to acme-*, for 7 days" in person.text
        for scheme, width in (("dark", 320), ("light", 1440)):
            person.look(scheme, width)
            assert_accessible(person)
        person.page.get_by_label("Code").fill("BBBB-BBBB")
        person.press("Approve")
        assert "You have 4 more tries" in person.text
        assert_accessible(person)
        person.page.get_by_label("Code").fill(code.lower())
        person.page.get_by_label("Read: install packages.").check()
        person.press("Approve")
        assert "Go back to the terminal" in person.page.inner_text("main [role=status]")
        assert_accessible(person)
        assert person.open(path) == 404

        assert "The login was refused in the browser" in thief.ended()[1]
        status, printed = laptop.ended()
        assert status == 0, printed
        assert "of htpasswd:ana: read acme-*, until" in printed
        match = TOKEN.search((laptop.sandbox.home / ".netrc").read_text())
        assert match is not None
        rights = site.get("/api/v1/whoami", match[0]).json()["rights"]
        assert {"can": ["read"], "projects": ["acme-*"]} in rights
        assert not any("upload" in right["can"] for right in rights)
        assert list(thief.sandbox.home.iterdir()) == []
        person.open("/-/account/tokens/")
        assert "my laptop" in person.text
