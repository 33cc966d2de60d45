"""The pages on which people ask for hidden public packages, and others approve or block them."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from tests.fake_time import START
from tests.http.handlers.admin.administering import Administrator, settings_in, text_of
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.index_tables import toml_of
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import private_wheel, public_wheel
from tests.upstream.settings import close, upstream_section
from wheelyard.catalog.package_request_list import REMEMBERED_SECONDS
from wheelyard.model.grants import GrantFields
from wheelyard.model.public_packages import Verdict
from wheelyard.settings.sections import ServerSettings

PAGE = "requests/"
ASK = "/-/request/"
RESERVE = {"path": "-/admin/names/?action=reserve", "text": "Reserve the name"}
GRANTS = (
    {"who": ["htpasswd:admin"], "projects": ["*"], "actions": ["admin"]},
    {"who": ["htpasswd:reader"], "projects": ["*"], "actions": ["read"]},
    {"who": ["htpasswd:stranger"], "projects": ["num*"], "actions": ["approve"]},
)
TABLES = toml_of(grant=GRANTS)


@pytest.fixture
def server(tmp_path: Path, upstream: FakeUpstream) -> Iterator[InProcessServer]:
    """A server that hides what is newer than a week, or under the AGPL; two people wait."""
    yesterday = START - timedelta(days=1)
    upstream.publish(
        FakeFile.of(public_wheel("requests", "1.0")),
        FakeFile.of(public_wheel("requests", "2.0"), yesterday),
        FakeFile.of(public_wheel("numpy", "1.0"), yesterday),
        FakeFile.of(public_wheel("copied", "1.0", "License: AGPL-3.0")),
        FakeFile.of(public_wheel("twice", "1.0", "License: AGPL-3.0")),
    )
    affected = {"package": {"ecosystem": "PyPI", "name": "twice"}, "versions": ["1.0"]}
    (tmp_path / "osv.json").write_text(json.dumps([{"id": "MAL-1", "affected": [affected]}]))
    section = upstream_section(
        upstream,
        cooldown_days=7,
        blocked_licenses=("AGPL-*",),
        deny=("denied",),
        osv=str(tmp_path / "osv.json"),
    )
    settings = settings_in(tmp_path, upstream=section)
    with in_process(tmp_path, settings, tables=TABLES) as running:
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
        request_package(person, project, version)
    return person


def request_package(
    person: Administrator, project: str, version: str, reason: str = "for TICKET-1"
) -> str:
    """Ask for a package by the form, and return the words of the page that comes then."""
    token = person.browser.form_token(ASK)
    fields = {"csrf_token": token, "project": project, "version": version, "reason": reason}
    answer = person.browser.send(ASK, fields)
    if answer.status == 303:
        answer = person.browser.open(answer.headers["location"])
    return text_of(answer)


def as_of(admin: Administrator) -> str:
    """Return which decisions the list of requests knows, as its forms say."""
    found = re.search(r'name="as_of" value="([^"]*)"', admin.open(PAGE).body.decode())
    return found[1] if found else ""


def send(admin: Administrator, **fields: str | Sequence[str]) -> InProcessResponse:
    """Send the form of the list as it is now."""
    return admin.send(PAGE, **{"as_of": as_of(admin), **fields})


def done(admin: Administrator, **fields: str | Sequence[str]) -> str:
    """Send the form of the list as it is now, and return the words of the page that comes then."""
    return admin.done(PAGE, **{"as_of": as_of(admin), **fields})


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

    page = done(admin, decide="approve", package="numpy 1.0")

    assert "1 package approved." in page
    assert "numpy" not in page.partition("Hidden because")[2]
    assert "numpy-1.0" in shown(admin.server, "/simple/numpy/")[1]
    assert "sees that now" in request_package(reader, "requests", "2.0")


def test_blocking_by_a_reason(admin: Administrator, reader: Administrator) -> None:
    """Who blocks says why, and whoever wants the package reads it."""
    question = admin.read(f"{PAGE}?decide=block&package=numpy+1.0")
    assert "Whoever tries to install it reads this" in question
    refused = send(admin, decide="block", package="numpy 1.0", reason=" ")
    assert (refused.status, "Say why" in text_of(refused)) == (400, True)

    assert "1 package blocked." in done(
        admin, decide="block", package="numpy 1.0", reason="use polars"
    )

    assert "use polars" in text_of(reader.browser.open("/project/numpy/"))


def test_several_at_once(admin: Administrator, reader: Administrator) -> None:
    """Several are decided by one form, also one that a rule hides, which the question says."""
    request_package(reader, "copied", "1.0")
    request_package(reader, "denied", "")
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

    assert "3 packages approved." in done(admin, **fields, reason="fine")

    for name in ("numpy", "requests", "copied"):
        assert f"{name}-" in shown(admin.server, f"/simple/{name}/")[1]
    assert "denied" in admin.read(PAGE)


@pytest.mark.usefixtures("reader")
def test_nothing_is_selected(admin: Administrator) -> None:
    """Who selects nothing is told so, and sees the list again."""
    page = text_of(admin.send(PAGE, select="1", decide="block"))
    assert "Select at least one package." in page
    assert "requests 2.0" in page


def test_what_is_not_decided_is_said(
    admin: Administrator, reader: Administrator, upstream: FakeUpstream
) -> None:
    """What stays hidden, is private, or is nowhere is named with why, and the rest is decided."""
    # a page without a file that can be used
    upstream.publish(FakeFile(filename="denied-1.0-py3-none-any-x86_64_v3.whl", body=b""))
    request_package(reader, "copied", "1.0")
    names = ["numpy 1.0", "copied 1.0", "ours", "nowhere 1.0", "denied"]
    answer = send(admin, decide="approve", package=names)

    words = text_of(answer)
    assert answer.status == 200
    assert "3 packages approved." in words
    assert "Still hidden: copied 1.0 is under AGPL-3.0" in words
    assert "Still hidden: denied" in words
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
    refused = send(approver, decide="approve", package=["numpy 1.0", "requests 2.0"])
    assert (refused.status, "may not approve 'requests'" in text_of(refused)) == (403, True)
    assert "1 package approved." in done(approver, decide="approve", package="numpy 1.0")
    for answer in (
        reader.open(PAGE),
        send(reader, decide="approve", package="requests 2.0"),
        approver.open("grants/"),
    ):
        assert answer.status == 403
    assert server.get(ASK).status == 401


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"package": "numpy 1.0"}, "Choose whether to approve or to block"),
        ({"decide": "approve"}, "Choose at least one package"),
        ({"decide": "approve", "package": "- 1"}, "project name"),
        ({"decide": "approve", "package": "numpy one"}, "version"),
        ({"decide": "approve", "package": "numpy 1.0", "csrf_token": ""}, "too old"),
        ({"decide": "approve", "package": "numpy 1.0", "as_of": "now"}, "Load the page again"),
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
    answer = send(admin, **fields)
    assert words in text_of(answer)
    assert admin.server.index.server.decisions.get("current").value is None


def test_asking_leads_from_the_page_of_the_package(reader: Administrator) -> None:
    """The page of a hidden package leads to the form, which names what is wrong with a request."""
    page = reader.browser.open("/project/numpy/").body.decode()
    assert '-/request/?project=numpy"' in page
    assert "Fill in" not in request_package(reader, "requests", "1.0")
    assert "not hidden here: install it" in request_package(reader, "requests", "1.0")
    assert "Say why you need it" in request_package(reader, "numpy", "1.0", "")


def test_approving_leads_from_the_page_of_the_package(
    server: InProcessServer, admin: Administrator
) -> None:
    """Whoever may approve a hidden package does so from its page, also before anybody asks."""
    approver = Administrator.of(server, "stranger")
    paths = ("/project/numpy/", "/project/numpy/1.0/")
    pages = [approver.browser.open(path).body.decode() for path in paths]
    links = [
        re.search(r'href="[./]*/-/admin/requests/(\?[^"]+)">Approve 1.0', page) for page in pages
    ]
    other = approver.browser.open("/project/requests/2.0/").body.decode()
    assert "Ask for it" in other
    assert "Approve" not in other
    assert not any("Ask for it" in page for page in pages)
    (link,) = {unescape(found[1]) for found in links if found}
    question = approver.open(f"requests/{link}").body.decode()
    assert "nobody yet" in question
    assert 'name="package" value="numpy 1.0"' in question
    for_others = link.replace("numpy%201.0", "requests%202.0")
    assert "requests" in for_others
    assert "None of them waits" in approver.read(f"requests/{for_others}")
    assert server.index.server.package_requests.get().requests == ()

    as_told = re.search(r'name="as_of" value="([^"]*)"', question)
    assert as_told is not None
    fields = {"as_of": as_told[1], "decide": "approve", "package": "numpy 1.0"}
    assert "1 package approved." in approver.done(PAGE, **fields)

    assert "numpy-1.0" in shown(server, "/simple/numpy/")[1]
    assert "None of them waits" in admin.read(f"requests/{link}")


def test_a_decision_of_a_colleague_is_shown_first(
    admin: Administrator, reader: Administrator
) -> None:
    """Who approves from an older page what a colleague has blocked sees the block, and decides."""
    colleague = Administrator.of(admin.server)
    request_package(reader, "copied", "1.0")
    seen = as_of(colleague)
    for package in ("numpy 1.0", "copied 1.0"):
        admin.server.clock.advance(seconds=5)
        done(admin, decide="block", package=package, reason="MALWARE")
    fields: dict[str, str | list[str]]
    fields = {"decide": "approve", "package": ["numpy 1.0", "copied 1.0", "requests 2.0"]}
    fields["despite copied 1.0"] = "licence"

    refused = colleague.send(PAGE, as_of=seen, **fields)

    words = text_of(refused)
    assert (refused.status, words.count("MALWARE")) == (409, 3)
    assert "htpasswd:admin has blocked numpy 1.0 (MALWARE)" in words
    assert "Blocked on 2026-01-01" in words
    decided = admin.server.index.server.decisions.get("current").value
    assert decided is not None
    assert {one.verdict for one in decided.decisions} == {Verdict.BLOCKED}
    again = re.search(r'name="as_of" value="([^"]*)"', refused.body.decode())
    assert again is not None
    assert "3 packages approved." in colleague.done(PAGE, as_of=again[1], **fields)


def test_a_form_that_does_not_say_what_it_has_shown(
    admin: Administrator, reader: Administrator
) -> None:
    """Nothing is decided by a form that does not say which decisions were shown."""
    assert reader.server is admin.server
    refused = admin.send(PAGE, decide="approve", package="numpy 1.0")
    assert (refused.status, "Load the page again" in text_of(refused)) == (400, True)


def test_all_rules_are_lifted_at_once(admin: Administrator, reader: Administrator) -> None:
    """What a licence and an advisory hide is approved by one form, which names both rules."""
    request_package(reader, "twice", "1.0")
    page = text_of(admin.open(f"{PAGE}?decide=approve&package=twice+1.0"))
    for rule in ("malicious", "licence"):
        assert f"lifts the rule “{rule}”" in page
    lifted = {"package": "twice 1.0", "despite twice 1.0": ["licence", "malicious"]}
    assert "1 package approved." in done(admin, decide="approve", **lifted)
    assert "twice-1.0" in shown(admin.server, "/simple/twice/")[1]


def test_what_stays_hidden_stays_listed(admin: Administrator, reader: Administrator) -> None:
    """An approval that lifts one of two rules is kept, and the package waits for the other one."""
    request_package(reader, "twice", "1.0")
    one = {"decide": "approve", "package": "twice 1.0", "despite twice 1.0": "malicious"}
    answer = text_of(send(admin, **one))
    assert "Still hidden: twice 1.0 is under AGPL-3.0" in answer
    assert "is under AGPL-3.0" in answer.partition("Hidden because")[2]
    other = {**one, "despite twice 1.0": "licence"}
    assert "1 package approved." in done(admin, **other)
    assert "twice-1.0" in shown(admin.server, "/simple/twice/")[1]


def test_many_are_selected(admin: Administrator, reader: Administrator) -> None:
    """As many can be selected as can wait, also those with long names."""
    request_package(reader, "requests", "2.0")
    names = [f"{'n' * 40}-{number} 1.0" for number in range(999)]
    answer = admin.send(PAGE, select="1", decide="block", package=[*names, "requests 2.0"])
    assert (answer.status, "Block requests 2.0" in text_of(answer)) == (200, True)


def test_forged_notices(admin: Administrator, reader: Administrator) -> None:
    """A link says nothing of what its reader has not done."""
    done(Administrator.of(admin.server, "stranger"), decide="approve", package="numpy 1.0")
    assert "approved." not in admin.read(f"{PAGE}?done=approved&count=999")
    request_package(reader, "numpy", "1.0")
    assert "asked for" not in text_of(reader.browser.open(f"{ASK}?asked=evil"))
    assert "asked for numpy 1.0" in text_of(reader.browser.open(f"{ASK}?asked=numpy+1.0"))


def test_nobody_decides_on_a_page_of_another_index(
    server: InProcessServer, admin: Administrator
) -> None:
    """Whoever may approve is led there from the page in `main`, and from no other index."""
    server.index.server.index_administration.add(
        {"name": "dev", "layers": ["dev", "upstream"]}, "local:bo"
    )
    server.clock.advance(seconds=20)
    pages = [text_of(admin.browser.open(f"{index}/project/numpy/")) for index in ("", "/dev")]
    assert ["numpy" in page for page in pages] == [True, True]
    assert ["Approve 1.0" in page for page in pages] == [True, False]


def test_a_read_only_server_takes_no_requests(tmp_path: Path, upstream: FakeUpstream) -> None:
    """The page of a hidden package on a read-only server leads to no form that does nothing."""
    server = ServerSettings(public_url="http://index", read_only=True)
    section = upstream_section(upstream, approval=True)
    settings = settings_in(tmp_path, upstream=section, server=server)
    with in_process(tmp_path, settings, tables=TABLES) as running:
        _, page = shown(running, "/project/numpy/")
        assert ("not approved" in page, "Ask for it" in page) == (True, False)
        close(running.index)


def test_the_navigation_says_how_many_wait(server: InProcessServer, reader: Administrator) -> None:
    """Whoever decides sees beside the links how many requests wait for them, and nobody else."""
    admin = Administrator.of(server)
    stranger = Administrator.of(server, "stranger")

    for person in (admin, stranger):
        person.read(PAGE)

    assert "Administration 2 waiting" in text_of(admin.browser.open("/"))
    assert "Package requests 2 waiting" in admin.read("people/")
    assert "Package requests 1 waiting" in text_of(stranger.browser.open("/"))
    assert "waiting" not in text_of(reader.browser.open("/"))
    server.clock.advance(seconds=REMEMBERED_SECONDS + 1)
    assert "waiting" not in text_of(admin.browser.open("/"))


@pytest.mark.parametrize(
    ("person", "index", "remedy"),
    [
        ("admin", "", RESERVE),
        ("admin", "/dev", None),
        ("reader", "", None),
    ],
    ids=["administrator", "another index", "uploader"],
)
def test_who_may_reserve_a_public_name_is_led_to_the_page(
    server: InProcessServer, person: str, index: str, remedy: dict[str, str] | None
) -> None:
    """Whoever would upload a public name hears it before, and who may reserve it gets the link."""
    server.index.server.index_administration.add(
        {"name": "dev", "layers": ["dev", "upstream"]}, "local:bo"
    )
    rights = GrantFields(
        who=("htpasswd:reader",), projects=("*",), actions=("upload",), index="main"
    )
    server.index.server.access.grant(rights, "local:bo")
    server.clock.advance(seconds=20)
    browser = Administrator.of(server, person).browser
    token, file = browser.form_token("/-/account/"), "requests-9.0.tar.gz"
    form = {"csrf_token": token, "filename": file, "size": "9", "sha256": ""}

    answer = browser.send(f"{index}/-/upload/check/", form)

    (said,) = json.loads(answer.body)
    assert (said["status"], said.get("remedy")) == ("refused", remedy)
    assert "is the name of a public package. Choose another name." in said["message"]
