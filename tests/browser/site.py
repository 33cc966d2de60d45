"""A server whose pages are looked at, and signing in to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import bcrypt

from tests.browser.chromium import Browser, Person
from tests.download_counts.processes import Process
from tests.fake_time import Clock
from tests.http.servers import RunningServer, running_server
from tests.waiting import until

USER: Final = "ana"
PASSWORD: Final = "correct horse battery staple"
CONFIG: Final = """
[access]
private = false
cookie_login = true
htpasswd_file = "htpasswd"
htpasswd_may = []

[web]
contact = "platform@acme.example"
"""
TABLES: Final = """
[[grant]]
who = ["anonymous"]
projects = ["*"]
actions = ["read"]

[[grant]]
who = ["htpasswd:ana"]
projects = ["*"]
actions = ["read", "upload", "manage", "admin"]

[groups]
team = ["htpasswd:ana", "user:ben@acme.example"]

[[grant]]
who = ["group:team"]
projects = ["acme-*"]
actions = ["upload"]
note = "the whole team"
"""
"""What the store has of rights."""


@contextmanager
def running_site(folder: Path, config: str = "", tables: str = "") -> Iterator[RunningServer]:
    """
    Start an empty server that everybody may read, where one user may upload and manage.

    `config` has more tables of its settings, and its store has these `tables`.
    """
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
    with running_server(folder, config=CONFIG + config, tables=tables + TABLES) as server:
        yield server


def add_downloads(server: RunningServer, name: str, *versions: str) -> None:
    """Count downloads of a project on the last 70 days, as another server has counted them."""
    index = server.index
    clock = Clock(index.server.runtime.now() - timedelta(days=70))
    process = Process(index.stores.documents, clock)
    for day in range(70):
        clock.advance(days=1)
        for number, version in enumerate(versions, 1):
            for _ in range((day * 7 + number * 5) % 13 // number):
                process.note(version, name)
    process.counter.close()


def await_descriptions(server: RunningServer, *names: str) -> None:
    """Wait until the pages of these projects have their descriptions."""
    for name in names:
        until(partial(_is_described, server, name))


def _is_described(server: RunningServer, name: str) -> bool:
    return "not rendered yet" not in server.get(f"/project/{name}/").text


def sign_in(person: Person) -> None:
    """Sign in with the password, and be on the home page then."""
    person.open("/-/sign-in/?next=/")
    person.page.get_by_label("User name").fill(USER)
    person.page.get_by_label("Password").fill(PASSWORD)
    person.press("Sign in")
    person.page.wait_for_url(person.base)


def is_signed_in(person: Person) -> bool:
    """Return whether the browser has the cookie of a session."""
    cookies = person.page.context.cookies()
    return any(cookie["name"].startswith("wheelyard-session") for cookie in cookies)


@contextmanager
def viewers(browser: Browser, url: str, **options: Any) -> Iterator[dict[bool, Person]]:  # noqa: ANN401
    """Let two people look at the pages of a server: by whether they are signed in."""
    with (
        browser.person(url, **options) as anonymous,
        browser.person(url, **options) as signed_in,
    ):
        sign_in(signed_in)
        yield {False: anonymous, True: signed_in}
