"""The page of a release."""

import re

import pytest
from hypothesis import given

from tests.rendering.examples import PROJECTS, file, project
from tests.rendering.web.pages import ENVIRONMENT, core, shown_release
from tests.rendering.web.test_project_page import in_text
from wheelyard.model.project import Project
from wheelyard.rendering.client_settings import INSTALL_CHOICES
from wheelyard.rendering.project_facts import releases_of
from wheelyard.rendering.web.environment import PageEnvironment, contact_link
from wheelyard.rendering.web.home_page import ErrorFacts, plain_error_page
from wheelyard.rendering.web.viewer import ANYONE, Viewer

TWO = project(file(), file("2.0", yanked="it <breaks>"), file("2.1rc1"))


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "2.0",
            "yanked. Installers choose it only where it is pinned. Reason: it <breaks>",
        ),
        ("2.0", "This is not the latest release. The newest stable release is 1.0"),
        ("2.1rc1", "This is a pre-release. The newest stable release is 1.0"),
    ],
)
def test_page_says_which_release_to_take(version: str, said: str) -> None:
    """The page of a release says if one should rather take another."""
    assert said in in_text(shown_release(TWO, version))


def test_page_of_a_static_site_names_no_newer_release() -> None:
    """In a static site a new release changes no page of an old one: they do not name it."""
    environment = PageEnvironment("http://index.example/simple/", is_static=True)
    said = in_text(shown_release(TWO, "2.0", environment=environment))
    assert "This is not the latest release. To the latest release" in said
    pres = project(file("1.0rc1"), file("1.0rc2"))
    assert "The latest release is 1.0rc2" in in_text(shown_release(pres, "1.0rc1"))


def test_the_latest_release_needs_no_banner() -> None:
    """The page of the latest release does not say that there is another."""
    assert "latest release" not in shown_release(TWO, "1.0")


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("1.0", "demo==1.0"), ("1.0+cu121", "demo==1.0+cu121"), ("1!2.0", "'demo==1!2.0'")],
)
def test_commands_have_the_version(version: str, wanted: str) -> None:
    """The commands of a release install that very version, also where a shell knows `!`."""
    page = shown_release(project(file(version)), version)
    text = in_text(page)
    for command in (
        *("uv pip install --index URL", "uv add --index wheelyard=URL"),
        "pip install --trusted-host index.example --index-url URL",
    ):
        whole = f"{command.replace('URL', 'http://index.example/simple/')} {wanted}"
        assert whole in text


def test_commands_cannot_be_confused() -> None:
    """No command asks two indexes, each is alone, and pip's says when it fails."""
    page = shown_release(TWO, "1.0", core("Requires-Dist: base"))
    commands = re.findall(r'<code data-copy="command for ([^"]+)">(.*?)</code>', page)
    assert [client for client, _ in commands] == ["uv", "uv pip", "pip", "Poetry", "PDM", "Pipenv"]
    for _, command in commands:
        assert not {"--no-deps", "extra-index-url", "&amp;&amp;"} & {*command.split()}
    assert "It fails where something is missing here" in in_text(page)
    # these look up in public what their settings do not name
    for client, command in (
        ("poetry", "poetry add --source wheelyard demo==1.0"),
        ("pdm", "pdm add demo==1.0"),
        ("pipenv", "pipenv install"),
    ):
        assert command in [re.sub("<[^>]+>", "", html) for _, html in commands]
        assert f'href="../../../setup/?project=demo&amp;client={client}"' in page


@pytest.mark.parametrize("client", [*INSTALL_CHOICES, ""])
def test_chosen_client_is_shown(client: str) -> None:
    """Of all commands that of the client that was chosen last is shown, uv's without a choice."""
    page = shown_release(TWO, "1.0", viewer=Viewer(client=client))
    button = r'<input type="radio" name="client"[^>]* value="([a-z-]+)"( checked)?'
    buttons = re.findall(button, page)
    assert [value for value, _ in buttons] == [*INSTALL_CHOICES]
    assert [value for value, is_checked in buttons if is_checked] == [client or "uv"]
    panels = page.partition('<div class="panels">')[2].partition("</fieldset>")[0]
    assert panels.count('<div class="line"><code') == len(INSTALL_CHOICES)


def test_managers_find_the_forms() -> None:
    """Who may manage a project gets from a release to the forms that change it."""
    link = 'href="../../../project/demo/manage/?version=1.0%2Bcu121"'
    shown = project(file("1.0+cu121"))
    assert link in shown_release(shown, "1.0+cu121", viewer=Viewer(name="ann", may_manage=True))
    assert link not in shown_release(shown, "1.0+cu121")


def test_import_names_are_shown() -> None:
    """The page says what the release is imported as, what of it is private, and its namespaces."""
    lines = ("Import-Name: acme.x", "Import-Name: acme._y; private", "Import-Namespace: acme")
    text = in_text(shown_release(TWO, "1.0", core(*lines)))
    assert "Import names acme.x, acme._y private Import namespaces acme" in text
    many = core(*(f"Import-Name: a{number}" for number in range(14)))
    assert "a11, and 2 more" in in_text(shown_release(TWO, "1.0", many))
    assert "Import" not in in_text(shown_release(TWO, "1.0"))


def test_each_classifier_has_a_row_but_versions_of_a_language() -> None:
    """Each classifier is a row of its own, and all versions of one language are one row."""
    texts = ("Topic :: Internet", "Topic :: System", "Programming Language :: Python :: 3")
    lines = [f"Classifier: {text}" for text in (*texts, f"{texts[-1]}.12")]
    page = shown_release(TWO, "1.0", core(*lines))

    rows = [re.sub("<[^>]+>", "", row) for row in re.findall("<dd>(.*?)</dd>", page)]
    assert [row for row in rows if row in {"Internet", "System", "Python :: 3, 3.12"}] == [
        "Python :: 3, 3.12",
        "Internet",
        "System",
    ]


def test_dependencies_that_are_here_are_links() -> None:
    """Dependencies that are here are links; so are the project and the latest release."""
    metadata = core("Requires-Dist: Base.One>=1", "Requires-Dist: hidden")
    page = shown_release(TWO, "2.0", metadata, "base-one")
    for link in ("../../../project/demo/", "../../../project/base-one/"):
        assert f'href="{link}"' in page
    assert "hidden</a>" not in page
    assert f'href="../../../files/demo/{"a" * 64}/demo-2.0-py3-none-any.whl"' in page


@given(PROJECTS)
def test_any_release_has_a_page(project: Project) -> None:
    """Whatever a project holds, the page of each release can be made."""
    for release in releases_of(project):
        assert f"<title>demo {release.version} " in shown_release(project, release.version)


def test_missing_release_leads_to_those_there() -> None:
    """The answer to a release that is not there leads to those that are."""
    name = project().name
    values = {"name": name, "version": "<b>9", "public": None, "not_shown": None}
    page = ENVIRONMENT.render("missing_release.html", ANYONE, "../../../", **values).decode()
    assert 'href="../../../project/demo/releases/"' in page
    assert "demo has no release <b>9 here." in in_text(page)


def test_refusal_is_a_page() -> None:
    """A refusal is shown with its title and its message, escaped."""
    facts = ErrorFacts(
        status=404, code="not_found", phrase="Not Found", message="There is no '<b>'."
    )
    made = ENVIRONMENT.render("error.html", ANYONE, "../", error=facts)
    pages = (made, plain_error_page("../", facts))

    for text in (page.decode() for page in pages):
        assert "<h1>Not found</h1>" in text
        assert "There is no &#" in text
        assert "&lt;b&gt;" in text


@pytest.mark.parametrize(
    ("code", "may_pass", "title"),
    [
        ("upstream_unavailable", True, "The upstream index does not answer just now"),
        ("upstream_unavailable", False, "This index works offline"),
        ("store_unavailable", True, "The index does not answer just now"),
        ("damaged_document", True, "The index is damaged"),
    ],
)
def test_a_failure_is_named_in_the_title(code: str, title: str, *, may_pass: bool) -> None:
    """The title of a page without an answer says whose answer is missing, and whether it comes."""
    phrase = "Service Unavailable"
    facts = ErrorFacts(status=503, code=code, phrase=phrase, message="", may_pass=may_pass)

    assert f"<h1>{title}</h1>" in plain_error_page("../", facts).decode()


@pytest.mark.parametrize(
    ("contact", "shown"),
    [
        ("", "the operator of this index"),
        ("it@acme.dev", '<a href="mailto:it@acme.dev">it@acme.dev</a>'),
        ("https://acme.dev/help", '<a href="https://acme.dev/help">https://acme.dev/help</a>'),
        ("Ana & Bo", "Ana &amp; Bo"),
        ("helpdesk", "helpdesk"),
        ("Ana <ana@acme.dev>", "Ana &lt;ana@acme.dev&gt;"),
    ],
)
def test_only_an_address_is_a_link(contact: str, shown: str) -> None:
    """Whom to ask is a link if it is an e-mail address or a URL, and else a text."""
    assert contact_link(contact) == shown


def test_classifiers_are_in_natural_order() -> None:
    """Classifiers are as on PyPI, and versions of one thing in their natural order on a line."""
    wanted = (
        "Python :: 3",
        "Python :: 3 :: Only",
        "Python :: 3.9",
        "Python :: 3.10",
        "Python :: Implementation :: CPython",
    )
    lines = [f"Classifier: Programming Language :: {each}" for each in reversed(wanted)]
    page = in_text(shown_release(TWO, "1.0", core(*lines)))
    joined = " ".join(wanted).replace(" Python :: 3.10", " , 3.10")
    assert f"Programming Language {joined}" in page


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["License-Expression: MIT", "Classifier: License :: OSI Approved :: BSD License"], "MIT"),
        (["License: BSD, see LICENSE"], "BSD, see LICENSE"),
        (["Classifier: License :: OSI Approved :: BSD License"], "BSD License"),
        (["License: see LICENSE", "Classifier: License :: OSI Approved :: BSD License"], "BSD"),
        (["License: BSD", "Classifier: License :: OSI Approved"], "BSD"),
        (
            ["Classifier: License :: Public Domain", "Classifier: License :: A :: B"],
            "Public Domain, B",
        ),
    ],
)
def test_license_is_said_once(lines: list[str], shown: str) -> None:
    """The license is said once: by its expression, else its classifiers, else the text."""
    page = in_text(shown_release(TWO, "1.0", core(*lines)))
    assert f"License {shown}" in page
    assert "OSI Approved" not in page
