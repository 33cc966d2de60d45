"""Hidden public packages: what is asked before an approval, and what still hides them."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.http.handlers.admin.administering import Administrator, settings_in, text_of
from tests.http.in_process import in_process
from tests.index_tables import toml_of
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import close, upstream_section

PAGE = "requests/"
TABLES = toml_of(grant=({"who": ["htpasswd:admin"], "projects": ["*"], "actions": ["admin"]},))


@pytest.fixture
def admin(tmp_path: Path, upstream: FakeUpstream) -> Iterator[Administrator]:
    """The administrator of an index that hides malware, and what is newer than a week."""
    before = datetime(2025, 12, 31, tzinfo=UTC)
    upstream.publish(FakeFile.of(public_wheel("numpy", "1.0"), before))
    upstream.publish(public_wheel("evil", "1.0"))
    affected = {"package": {"ecosystem": "PyPI", "name": "evil"}, "versions": ["1.0"]}
    osv = tmp_path / "osv.json"
    osv.write_text(json.dumps([{"id": "MAL-1", "affected": [affected]}]))
    section = upstream_section(upstream, cooldown_days=7, osv=str(osv))
    settings = settings_in(tmp_path, upstream=section)
    with in_process(tmp_path, settings, tables=TABLES) as server:
        yield Administrator.of(server)
        close(server.index)


def ask(admin: Administrator, project: str, version: str) -> None:
    """Ask for a package by the form."""
    fields = {"project": project, "version": version, "reason": "for TICKET-1"}
    token = admin.browser.form_token("/-/request/")
    assert admin.browser.send("/-/request/", {"csrf_token": token, **fields}).status == 303


def test_a_package_that_nobody_has_asked_for_can_be_approved(admin: Administrator) -> None:
    """A link to a hidden package leads to the question, also before anybody has asked for it."""
    question = admin.read(f"{PAGE}?decide=approve&package=numpy+1.0")

    assert "nobody yet" in question
    assert "numpy 1.0 appeared on 2025-12-31" in question


def test_what_nobody_waits_for_is_not_listed(admin: Administrator) -> None:
    """A package that an approval does not show, and that nobody has asked for, waits for nobody."""
    question = admin.open(f"{PAGE}?decide=approve&package=evil+1.0").body.decode()
    found = re.search(r'name="as_of" value="([^"]*)"', question)
    assert found is not None

    sent = admin.send(PAGE, as_of=found[1], decide="approve", package="evil 1.0")

    assert "Still hidden: evil 1.0" in text_of(sent)
    assert admin.server.index.server.package_requests.get().requests == ()


def test_what_stays_hidden_stays_listed(admin: Administrator) -> None:
    """A package that an approval does not show waits again, with what hides it, and others stay."""
    for project in ("evil", "numpy"):
        ask(admin, project, "1.0")
    found = re.search(r'name="as_of" value="([^"]*)"', admin.open(PAGE).body.decode())
    assert found is not None

    sent = admin.send(PAGE, as_of=found[1], decide="approve", package="evil 1.0")

    _, note, requests = text_of(sent).partition("Still hidden: evil 1.0")
    assert note
    rows = requests.partition("Hidden because")[2]
    assert rows.count("MAL-1") == 1
    assert "numpy 1.0 appeared on 2025-12-31" in rows
