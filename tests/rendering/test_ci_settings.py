"""Lines for CI services; `tests/clients/test_publish.py` runs them."""

import re

import pytest

from tests.clients.harness import REPOSITORY
from wheelyard.model.access import Action, Pattern, Scope
from wheelyard.model.index_name import MAIN
from wheelyard.rendering.ci_settings import SERVICES, CiService, ci_lines

READING = Scope(Action.READ, (Pattern("acme-*"),), (MAIN,))


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_reading_token_gets_no_publishing_lines(service: CiService) -> None:
    """A token that only reads gets no lines that publish, and an unknown URL is told apart."""
    text = ci_lines(service, READING, "")

    assert "publish -" not in text
    assert "@YOUR-INDEX/simple/" in text
    assert "YOUR-INDEX stands for the host" in text
    assert text.index("uv pip install NAME") < text.index("or: pip install NAME")
    assert "UV_INDEX" in text
    assert "<" not in text


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_ci_lines_name_pages_that_exist(service: CiService) -> None:
    """Trusted publishing comes first, with pages that there are; the URL is that of the index."""
    scope = Scope(Action.UPLOAD.with_implied, (Pattern("acme-*"), Pattern("tools")), (MAIN,))

    text = ci_lines(service, scope, "https://pypi.acme.dev/packages")

    first, _, then = text.partition("store it:")
    assert "YOUR-INDEX" not in text
    assert "--publish-url https://pypi.acme.dev/packages/legacy/ dist/*" in then
    assert "https://__token__:" in then
    assert "@pypi.acme.dev/packages/simple/" in then
    assert "pip install tools" in then
    pages = re.findall(r"(docs/[\w/-]+\.md)#([\w-]+)", first)
    assert len(pages) == 2
    for page, anchor in pages:
        titles = re.findall(r"^#+ (.*)$", (REPOSITORY / page).read_text(), re.MULTILINE)
        assert anchor in {title.lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_ci_lines_name_one_index_if_it_has_all(service: CiService) -> None:
    """Where this index serves public packages, too, uv asks no other index."""
    text = ci_lines(service, READING, "https://pypi.acme.dev", serves_public=True)

    assert "UV_DEFAULT_INDEX" in text
    assert "UV_INDEX" not in text
