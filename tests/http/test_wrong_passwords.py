"""Wrong passwords that are all sent at the same moment, at a running server."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bcrypt import gensalt, hashpw

from tests.http.raw import ask, basic
from tests.http.servers import Site, running_site

pytestmark = pytest.mark.integration

LIMIT = 5
AT_ONCE = 24
NAMES = [f"user-{number}" for number in range(AT_ONCE)]


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The settings of a server that lets few passwords fail, each of which takes some time."""
    hashed = hashpw(b"right", gensalt(8)).decode()
    file = tmp_path / "htpasswd"
    file.write_text("".join(f"{name}:{hashed}\n" for name in NAMES))
    return f"""
        [access]
        private = true
        htpasswd_file = "{file}"
        failed_login_per_minute = {LIMIT}
    """


def log_in(site: Site, logins: list[tuple[str, str]]) -> Counter[int]:
    """Log in over as many connections at the same moment; return how often each status came."""

    def status(login: tuple[str, str]) -> int:
        return ask(site, "GET /simple/ HTTP/1.1", basic(*login)).status

    with ThreadPoolExecutor(len(logins)) as pool:
        return Counter(pool.map(status, logins))


def test_a_burst_of_people(tmp_path: Path, config: str) -> None:
    """Two dozen people of one office who log in at once are all let in, and again with guesses."""
    people = [(name, "right") for name in NAMES]
    with running_site(tmp_path, config=config) as site:
        assert log_in(site, people) == {200: AT_ONCE}
        guesses = [(name, f"wrong-{number}") for number, name in enumerate(NAMES)]
        assert log_in(site, people + guesses) == {200: AT_ONCE, 401: LIMIT, 429: AT_ONCE - LIMIT}
