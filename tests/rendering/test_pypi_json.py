"""The JSON of PyPI's legacy API, to the last byte that a client may look at."""

from msgspec import json
from packaging.utils import NormalizedName

from tests.rendering.examples import file, project
from wheelyard.model.metadata import parse_metadata
from wheelyard.rendering.project_facts import latest_release, project_json, releases_of

EVERYTHING = b"""Metadata-Version: 2.4
Name: Demo
Version: 1.0
Summary: Has everything
Description-Content-Type: text/markdown
Keywords: one,two
Home-page: https://example.com/
Download-URL: https://example.com/download
Author: Ann
Author-email: Ann <ann@example.com>
Maintainer: Bob
Maintainer-email: Bob <bob@example.com>
License-Expression: mit
License-File: LICENSE
Classifier: Programming Language :: Python :: 3
Requires-Dist: other>=1; extra == 'fast'
Requires-Python: >=3.9
Project-URL: Source, https://example.com/source
Provides-Extra: Fast
Platform: linux
Platform: macos
Dynamic: License-File

# A demo
"""
NOTHING = b"Metadata-Version: 1.0\nName: demo\nVersion: 1.0\nLicense: as is\n"
ABSENT = (
    "bugtrack_url description_content_type docs_url dynamic license_expression license_files "
    "project_urls provides_extra requires_dist requires_python yanked_reason"
)
EMPTY = (
    "author author_email description download_url home_page keywords maintainer maintainer_email "
    "package_url platform project_url release_url summary"
)
INFO: dict[str, object] = {
    **dict.fromkeys(ABSENT.split()),
    **dict.fromkeys(EMPTY.split(), ""),
    "classifiers": [],
    "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
    "license": "as is",
    "name": "demo",
    "version": "1.0",
    "yanked": False,
}
"""The page of a release with only a licence."""
WHEEL: dict[str, object] = {
    "comment_text": "",
    "core-metadata": {"sha256": "b" * 64},
    "digests": {"sha256": "a" * 64},
    "downloads": -1,
    "filename": "demo-1.0-py3-none-any.whl",
    "has_sig": False,
    "packagetype": "bdist_wheel",
    "python_version": "py3",
    "requires_python": ">=3.9",
    "size": 1337,
    "upload_time": "2026-11-20T12:00:00",
    "upload_time_iso_8601": "2026-11-20T12:00:00.000000Z",
    "url": f"/files/demo/{'a' * 64}/demo-1.0-py3-none-any.whl",
    "yanked": False,
    "yanked_reason": None,
}
SDIST = WHEEL | {
    "core-metadata": False,
    "filename": "demo-1.0.tar.gz",
    "packagetype": "sdist",
    "python_version": "source",
    "requires_python": None,
    "url": f"/files/demo/{'a' * 64}/demo-1.0.tar.gz",
}
OLD = WHEEL | {
    "filename": "demo-0.9-py3-none-any.whl",
    "requires_python": None,
    "url": f"/files/demo/{'a' * 64}/demo-0.9-py3-none-any.whl",
    "yanked": True,
    "yanked_reason": "broken",
}


def test_a_project_that_says_everything() -> None:
    """Whatever a release says of itself stands in the field that PyPI has for it."""
    wheel, sdist = file(requires_python=">=3.9"), file(is_wheel=False)
    releases = releases_of(project(wheel, sdist, file("0.9", yanked="broken")))
    speaks = latest_release(releases)
    assert speaks is not None
    name, core = NormalizedName("demo"), parse_metadata(EVERYTHING)

    assert json.decode(project_json(name, speaks, core, "/files", releases)) == {
        "info": INFO
        | {
            "author": "Ann",
            "author_email": "Ann <ann@example.com>",
            "classifiers": ["Programming Language :: Python :: 3"],
            "description": "# A demo\n",
            "description_content_type": "text/markdown",
            "download_url": "https://example.com/download",
            "dynamic": ["license-file"],
            "home_page": "https://example.com/",
            "keywords": "one,two",
            "license": "",
            "license_expression": "MIT",
            "license_files": ["LICENSE"],
            "maintainer": "Bob",
            "maintainer_email": "Bob <bob@example.com>",
            "name": "Demo",
            "platform": "linux, macos",
            "project_urls": {"Source": "https://example.com/source"},
            "provides_extra": ["fast"],
            "requires_dist": ["other>=1; extra == 'fast'"],
            "requires_python": ">=3.9",
            "summary": "Has everything",
        },
        "last_serial": 0,
        "releases": {"1.0": [WHEEL, SDIST], "0.9": [OLD]},
        "urls": [WHEEL, SDIST],
        "vulnerabilities": [],
    }


def test_names_are_decoded() -> None:
    """A name that its build tool has encoded as in mail is readable, as it is on pages."""
    (release,) = releases_of(project(file()))
    encoded = "=?utf-8?q?J=C3=BCrgen?="
    fields = f"Author: {encoded}\nMaintainer-email: {encoded} <j@example.com>\n"
    core = parse_metadata(NOTHING + fields.encode())

    info = json.decode(project_json(NormalizedName("demo"), release, core, "/files"))["info"]

    assert info["author"] == "J\u00fcrgen"
    assert info["maintainer_email"] == "J\u00fcrgen <j@example.com>"


def test_a_release_that_says_nothing() -> None:
    """What a release does not say is null, empty or -1, as PyPI has it, and never left out."""
    (release,) = releases_of(project(file(is_wheel=False, yanked="")))
    name, core = NormalizedName("demo"), parse_metadata(NOTHING)

    assert json.decode(project_json(name, release, core, "/files")) == {
        "info": INFO | {"yanked": True},
        "last_serial": 0,
        "urls": [SDIST | {"yanked": True}],
        "vulnerabilities": [],
    }
