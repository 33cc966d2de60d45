"""A change of the pages that sites have to hear of."""

from hashlib import sha256

from tests.exporting.sites import BASE
from tests.rendering.examples import file, project
from wheelyard.model.metadata import parse_metadata
from wheelyard.model.project import Status
from wheelyard.operations.exporting.manifest import FORM, Options
from wheelyard.operations.exporting.pages import Pages
from wheelyard.rendering.pages import PageTemplates
from wheelyard.rendering.releases import search_json

FORM_OF_PAGES = (2, "aa602ec678116bd8be2c042f7d1af3730d7e6d71f797394d624b66ca170a4e66")
"""The form of the pages, and the digest of some that have it."""
CORE = parse_metadata(
    b"Metadata-Version: 2.4\nName: demo\nVersion: 1.1\nSummary: A demo\n"
    b"Project-URL: Home, https://example.com/\nRequires-Dist: base>=2\n\nIt is small.\n"
)
PROJECTS = (
    project(
        file(requires_python=">=3.9"),
        file(is_wheel=False),
        file("1.1"),
        file("2.0", yanked="it breaks"),
    ),
    project(file(), status=Status.ARCHIVED, reason="use another"),
    project(file(), status=Status.QUARANTINED),
    project(),
)


def test_form() -> None:
    """Sites that exist get pages that look new: whoever changes the pages raises their form."""
    options = Options(base_url=BASE)
    templates = PageTemplates(f"{BASE}/simple/", files_url=options.files_from_page)
    pages = Pages(options, templates, lambda *_: CORE, serves_folders=True)
    made = [pages.of_project(each) for each in PROJECTS]
    lists = (
        *pages.of_names([PROJECTS[0].name]),
        *pages.of_search(search_json(line for _, line in made)),
    )

    digest = sha256()
    for page in (*(page for found, _ in made for page in found), *lists):
        digest.update(f"{page.path}\n".encode() + (page.body or b""))

    now = (FORM, digest.hexdigest())
    assert now == FORM_OF_PAGES, "raise FORM in operations/exporting/manifest.py, and write it here"
