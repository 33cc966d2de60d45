"""Where the links of the documentation lead."""

import pytest

from wheelyard.rendering.web.docs_page import LinkTargets, forge_reference

PAGES = {"README.md": "", "tokens.md": "tokens/", "deploy/linux.md": "deploy/linux/"}
FILES = {"images/overview.svg"}
FORGE = "https://github.com/wheelyard/wheelyard/blob"


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("linux.md#upgrading", "deploy/linux/#upgrading"),
        ("../tokens.md", "tokens/"),
        ("../README.md#reference", "#reference"),
        ("../images/overview.svg", "images/overview.svg"),
        ("#here", "#here"),
        ("https://example.com/a.md", "https://example.com/a.md"),
        ("../../deploy/linux/", f"{FORGE}/v1.2/deploy/linux/"),
        ("../../SECURITY.md#scope", f"{FORGE}/v1.2/SECURITY.md#scope"),
        ("nothing.md", f"{FORGE}/v1.2/docs/deploy/nothing.md"),
    ],
)
def test_links(target: str, leads_to: str) -> None:
    """A link leads to the page or the picture here, and all else to this version at the forge."""
    assert LinkTargets("1.2", PAGES, FILES).resolve(target, "deploy/linux.md") == leads_to


def test_reference() -> None:
    """A version that was released has a tag, any other one is on the main branch."""
    assert forge_reference("1.2.3") == "v1.2.3"
    assert forge_reference("1.3.0rc1") == "v1.3.0rc1"
    assert forge_reference("1.3.0.dev4") == forge_reference("1.2.3+local") == "main"
