"""`wheelyard login` in a terminal, and the person who makes the token in a browser."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.browser.axe import violations
from tests.browser.chromium import Browser, Person
from tests.browser.site import PASSWORD, USER, running_site
from tests.clients.harness import SOURCE, new_sandbox
from tests.http.servers import RunningServer
from tests.http_server import TOKEN, WHEELYARD
from tests.logins import shown
from tests.waiting import TIMEOUT_SECONDS

pytestmark = pytest.mark.integration

WITHOUT_KEYRING: Final = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server where Ana has a password."""
    with running_site(tmp_path_factory.mktemp("site")) as server:
        yield server


def assert_accessible(person: Person) -> None:
    """Expect that axe-core finds nothing, which itself is a script."""
    assert not person.has_scripts or violations(person) == []


@pytest.mark.parametrize(
    "has_scripts",
    [True, pytest.param(False, marks=pytest.mark.weekly)],
    ids=["scripts", "no-scripts"],
)
def test_a_person_makes_the_token_of_a_terminal(
    browser: Browser, site: RunningServer, tmp_path: Path, *, has_scripts: bool
) -> None:
    """A person signs in on the way to the form, finds it filled in, and copies the token back."""
    sandbox, options = new_sandbox(tmp_path), ("--project", "acme-*", "--days", "7")
    with subprocess.Popen(
        [*WHEELYARD, "login", site.url, "--no-browser", *options, "--name", "my laptop"],
        cwd=sandbox.folder,
        env=sandbox.environment() | SOURCE | WITHOUT_KEYRING,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as terminal:
        assert terminal.stdout is not None
        printed = "".join(terminal.stdout.readline() for _ in range(3))
        parts = urlsplit(shown(printed) or "")
        path = f"{parts.path}?{parts.query}"
        with browser.person(site.url, java_script_enabled=has_scripts) as person:
            assert person.open(path) == 401
            person.follow("Sign in")
            person.page.get_by_label("User name").fill(USER)
            person.page.get_by_label("Password").fill(PASSWORD)
            person.press("Sign in")
            person.page.wait_for_url(f"**{path}")
            words = "the token can read and upload to acme-* in the index main, for 7 days"
            assert words in person.page.inner_text("main .notice")
            person.look("dark", 320)
            assert_accessible(person)
            assert person.page.get_by_label("Name", exact=True).input_value() == "my laptop"
            person.page.get_by_label("Read: install packages.").check()
            person.press("Make the token")
            person.look("light", 1440)
            assert_accessible(person)
            token = person.page.inner_text("#token").strip()
        printed, _ = terminal.communicate(f"{token}\n", timeout=TIMEOUT_SECONDS)

    assert terminal.returncode == 0, printed
    assert f"Token {token[4:14]}: " in printed
    assert token not in printed
    match = TOKEN.search((sandbox.home / ".netrc").read_text())
    assert match is not None
    assert match[0] == token
    rights = site.get("/api/v1/whoami", token).json()["rights"]
    assert {"can": ["read"], "projects": ["acme-*"], "index": "main"} in rights
    assert not any("upload" in right["can"] for right in rights)
