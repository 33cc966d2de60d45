"""The pages on which people ask for hidden public packages, and others approve or block them."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.http.handlers.admin.administering import Administrator, settings_in, text_of
from tests.http.in_process import InProcessServer, in_process
from tests.operations.in_memory_index import START
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.settings import close, upstream_section

pytestmark = pytest.mark.integration

PAGE = "requests/"
ASK = "/-/request/"
GRANTS = (
    {"who": ["htpasswd:admin"], "projects": ["*"], "actions": ["admin"]},
    {"who": ["htpasswd:reader"], "projects": ["*"], "actions": ["read"]},
    {"who": ["htpasswd:stranger"], "projects": ["num*"], "actions": ["approve"]},
)


@pytest.fixture
def server(tmp_path: Path, upstream: FakeUpstream) -> Iterator[InProcessServer]:
    """A server that hides what is newer than a week, or under the AGPL; two people wait."""
    yesterday = START - timedelta(days=1)
    upstream.publish(
        FakeFile.of(public_wheel("requests", "1.0")),
        FakeFile.of(public_wheel("requests", "2.0"), yesterday),
        FakeFile.of(public_wheel("numpy", "1.0"), yesterday),
        FakeFile.of(public_wheel("copied", "1.0", "License: AGPL-3.0")),
    )
    section = upstream_section(
        upstream, cooldown_days=7, blocked_licenses=("AGPL-*",), deny=("denied",)
    )
    settings = settings_in(tmp_path, grant=GRANTS, upstream=section)
    with in_process(tmp_path, settings) as running:
        running.publish(private_wheel("ours", "1.0"))
        try:
            yield running
        finally:
            close(running.index)


@pytest.fixture
def admin(server: InProcessServer) -> Administrator:
    """The administrator, who has signed in."""
    return Administrator.of(server)


@pytest.fixture
def reader(server: InProcessServer) -> Administrator:
    """Somebody who may read, and has asked for two packages."""
    person = Administrator.of(server, "reader")
    for project, version in (("requests", "2.0"), ("NumPy", "")):
        ask(person, project, version)
    return person


def ask(person: Administrator, project: str, version: str, reason: str = "for TICKET-1") -> str:
    """Ask for a package by the form, and return the words of the page that comes then."""
    token = person.browser.form_token(ASK)
    fields = {"csrf_token": token, "project": project, "version": version, "reason": reason}
    answer = person.browser.send(ASK, fields)
    if answer.status == 303:
        answer = person.browser.open(answer.headers["location"])
    return text_of(answer)


def shown(server: InProcessServer, path: str) -> tuple[int, str]:
    """Return the status and the text of what an installer gets."""
    admin = ("authorization", "Basic YWRtaW46czNjcmV0")
    answer = server.get(path, admin, ("accept", "text/html;q=0.1, */*;q=0.01"))
    return answer.status, answer.body.decode(errors="replace")


def test_asking_and_approving(admin: Administrator, reader: Administrator) -> None:
    """Who approves sees who asked and why, and after one click the package can be installed."""
    page = admin.read(PAGE)
    assert "requests 2.0 reader, by password 1 time, last 2026-01-01" in page
    assert "“for TICKET-1”" in page
    assert "It is shown by itself from 2026-01-07" in page
    assert "'wheelyard" not in page
    assert shown(admin.server, "/simple/numpy/")[1].count("numpy-1.0") == 0

    page = admin.done(PAGE, decide="approve", package="numpy 1.0")

    assert "1 package approved." in page
    assert "numpy" not in page.partition("Hidden because")[2]
    assert "numpy-1.0" in shown(admin.server, "/simple/numpy/")[1]
    assert "sees that now" in ask(reader, "requests", "2.0")


def test_blocking_by_a_reason(admin: Administrator, reader: Administrator) -> None:
    """Who blocks says why, and whoever wants the package reads it."""
    question = admin.read(f"{PAGE}?decide=block&package=numpy+1.0")
    assert "Whoever tries to install it reads this" in question
    refused = admin.send(PAGE, decide="block", package="numpy 1.0", reason=" ")
    assert (refused.status, "Say why" in text_of(refused)) == (400, True)

    assert "1 package blocked." in admin.done(
        PAGE, decide="block", package="numpy 1.0", reason="use polars"
    )

    assert "use polars" in text_of(reader.browser.open("/project/numpy/"))


def test_several_at_once(admin: Administrator, reader: Administrator) -> None:
    """Several are decided by one form, also one that a rule hides, which the question says."""
    ask(reader, "copied", "1.0")
    ask(reader, "denied", "")
    names = ["numpy 1.0", "requests 2.0", "copied 1.0", "denied"]
    query = "&".join(f"package={name.replace(' ', '+')}" for name in names)
    page = admin.open(f"{PAGE}?decide=approve&{query}")
    assert "Approve 3 packages" in text_of(page)
    assert "No approval lets these through" in text_of(page)
    assert "lifts the rule “licence”" in text_of(page)
    hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.body.decode())
    fields: dict[str, list[str]] = {}
    for name, value in hidden:
        fields.setdefault(name, []).append(value)
    del fields["csrf_token"]

    assert "3 packages approved." in admin.done(PAGE, **fields, reason="fine")

    for name in ("numpy", "requests", "copied"):
        assert f"{name}-" in shown(admin.server, f"/simple/{name}/")[1]
    assert "denied" in admin.read(PAGE)


@pytest.mark.usefixtures("reader")
def test_nothing_is_selected(admin: Administrator) -> None:
    """Who selects nothing is told so, and sees the list again."""
    page = admin.read(f"{PAGE}?decide=block")
    assert "Select at least one package." in page
    assert "requests 2.0" in page


def test_what_is_not_decided_is_said(admin: Administrator, reader: Administrator) -> None:
    """What stays hidden, is private, or is nowhere is named with why, and the rest is decided."""
    ask(reader, "copied", "1.0")
    names = ["numpy 1.0", "copied 1.0", "ours", "nowhere 1.0"]
    answer = admin.send(PAGE, decide="approve", package=names)

    words = text_of(answer)
    assert answer.status == 200
    assert "2 packages approved." in words
    assert "Still hidden: copied 1.0 is under AGPL-3.0" in words
    assert "ours is private here" in words
    assert "nowhere 1.0: " in words


def test_rights(server: InProcessServer, reader: Administrator) -> None:
    """Who may approve some names sees and decides those, and who may not gets 403."""
    approver = Administrator.of(server, "stranger")
    page = approver.read(PAGE)
    assert ("numpy 1.0" in page, "requests 2.0" in page) == (True, False)
    assert 'href="../../../-/admin/grants/"' not in approver.open(PAGE).body.decode()
    assert '-/admin/requests/">Package requests' in approver.browser.open("/").body.decode()
    assert '-/admin/requests/"' not in reader.browser.open("/").body.decode()
    refused = approver.send(PAGE, decide="approve", package=["numpy 1.0", "requests 2.0"])
    assert (refused.status, "may not approve 'requests'" in text_of(refused)) == (403, True)
    assert "1 package approved." in approver.done(PAGE, decide="approve", package="numpy 1.0")
    for answer in (
        reader.open(PAGE),
        reader.send(PAGE, decide="approve", package="requests 2.0"),
        approver.open("grants/"),
    ):
        assert answer.status == 403
    assert server.get(ASK).status in {303, 401}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"package": "numpy 1.0"}, "Choose whether to approve or to block"),
        ({"decide": "approve"}, "Choose at least one package"),
        ({"decide": "approve", "package": "- 1"}, "project name"),
        ({"decide": "approve", "package": "numpy one"}, "version"),
        ({"decide": "approve", "package": "numpy 1.0", "csrf_token": ""}, "too old"),
        (
            {"decide": "approve", "package": "numpy 1.0", "reason": "x" * 2000},
            "The reason has 2000",
        ),
        ({"decide": "approve", "package": "numpy 1.0", "despite numpy 1.0": "x"}, "no rule"),
    ],
)
@pytest.mark.usefixtures("reader")
def test_malformed_forms(admin: Administrator, fields: dict[str, str], words: str) -> None:
    """A form that makes no sense is refused with what is wrong, and nothing is decided."""
    answer = admin.send(PAGE, **fields)
    assert words in text_of(answer)
    assert admin.server.index.decisions.get("current").value is None


def test_asking_leads_from_the_page_of_the_package(reader: Administrator) -> None:
    """The page of a hidden package leads to the form, which names what is wrong with a request."""
    page = reader.browser.open("/project/numpy/").body.decode()
    assert '-/request/?project=numpy"' in page
    assert "Fill in" not in ask(reader, "requests", "1.0")
    assert "not hidden here: install it" in ask(reader, "requests", "1.0")
    assert "Say why you need it" in ask(reader, "numpy", "1.0", "")
