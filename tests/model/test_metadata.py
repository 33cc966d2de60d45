"""Core metadata: what is accepted, and what is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.metadata import Metadata
from packaging.utils import NormalizedName

from tests.refused import refused
from wheelyard.errors import Invalid
from wheelyard.model.import_names import ImportName, Imports
from wheelyard.model.metadata import (
    HEADER_LIMIT,
    CoreMetadata,
    metadata_warnings,
    parse_any,
    parse_metadata,
)

HEAD = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n"

HEAD_2_5 = HEAD.replace("2.4", "2.5")


def parsed(rest: str, version: str = "2.4") -> CoreMetadata:
    """Return metadata with further headers, a Metadata-Version of `version`."""
    return parse_metadata((HEAD.replace("2.4", version, 1) + rest).encode())


REFUSED: dict[str, str | bytes] = {
    "no-metadata-version": "Name: demo\nVersion: 1.0\n",
    "empty": "",
    "newer-major-version": HEAD.replace("2.4", "3.0"),
    "metadata-version-0.9": HEAD.replace("2.4", "0.9"),
    "metadata-version-of-letters": HEAD.replace("2.4", "banana"),
    "two-names": HEAD + "Name: evil\n",
    "two-versions": HEAD + "Version: 2\n",
    "no-name": "Metadata-Version: 2.4\nVersion: 1.0\n",
    "no-version": "Metadata-Version: 2.4\nName: demo\n",
    "two-requires-python": HEAD + "Requires-Python: >=3.12\nRequires-Python: >=2\n",
    "latin-1": HEAD.encode() + b"Author: \xe9\n",
    "latin-1-body": HEAD.encode() + b"\n\xe9\n",
    "byte-order-mark": "\ufeff" + HEAD,
    "lone-cr": HEAD + "Summary: a\rName: evil\n",
    "next-line": HEAD + "Summary: a\u0085b\n",
    "line-separator": HEAD + "Summary: a\u2028b\n",
    "form-feed": HEAD + "Summary: a\fb\n",
    "nul": HEAD + "Summary: a\0b\n",
    "nul-in-body": HEAD + "\na\0b\n",
    "nested-messages": HEAD + "Content-Type: message/rfc822\n\n" * 5000,
    "multipart": HEAD + "Content-Type: multipart/mixed\n\nx",
    "base64-body": HEAD + "Content-Transfer-Encoding: base64\n\neA==",
    "description-in-header-and-body": HEAD + "Description: a\n\nb\n",
    "two-description-headers": HEAD + "Description: a\nDescription: b\n",
    "html-description": HEAD + "Description-Content-Type: text/html\n",
    "unknown-description-type": HEAD + "Description-Content-Type: application/x\n",
    "latin-1-description": HEAD + "Description-Content-Type: text/plain; charset=latin-1\n",
    "unknown-markdown-variant": HEAD + "Description-Content-Type: text/markdown; variant=Foo\n",
    "unknown-licence": HEAD + "License-Expression: Foo-Bar\n",
    "licence-expression-before-2.4": HEAD.replace("2.4", "2.1") + "License-Expression: MIT\n",
    "nested-licence-expression": HEAD + "License-Expression: " + "(" * 5000 + "\n",
    "long-licence-expression": HEAD + "License-Expression: " + "MIT AND " * 2000 + "MIT\n",
    "licence-file-upwards": HEAD + "License-File: ../x\n",
    "absolute-licence-file": HEAD + "License-File: /etc/passwd\n",
    "licence-file-on-a-drive": HEAD + "License-File: C:\\x\n",
    "licence-file-on-a-drive-with-slash": HEAD + "License-File: C:/x\n",
    "licence-file-relative-to-a-drive": HEAD + "License-File: C:x\n",
    "licence-file-with-backslash": HEAD + "License-File: a\\x\n",
    "licence-file-pattern": HEAD + "License-File: a*b\n",
    "100000-classifiers": HEAD + "Classifier: a\n" * 100_000,
    "100000-requirements": HEAD + "Requires-Dist: a\n" * 100_000,
    "long-requirements": HEAD + f"Requires-Dist: a>={'0' * 60_000}\n" * 9,
    "malformed-extra": HEAD.replace("2.4", "2.3") + "Provides-Extra: -x-\n",
    "requirement-without-closing-bracket": HEAD + "Requires-Dist: foo (>=1\n",
    "nested-marker": HEAD + f"Requires-Dist: a; {'(' * 2000}os_name == 'x'{')' * 2000}\n",
    "requires-python-of-letters": HEAD + "Requires-Python: python3\n",
    "requires-python-of-a-comma": HEAD + "Requires-Python: ,\n",
    "long-requires-python": HEAD + "Requires-Python: " + ",".join([">=3"] * 20_000) + "\n",
    "requires-python-over-1-KiB": HEAD + "Requires-Python: >=3" + " " * 1024 + ",<4\n",
    "requires-python-of-html": HEAD + "Requires-Python: <script>\n",
    "long-summary": HEAD + "Summary: " + "a" * 10_000_000 + "\n",
    "summary-of-many-lines": HEAD + "Summary: a" + "\n a" * 500_000 + "\n",
    "10000-authors": HEAD + "Author-email: " + ", ".join(["a <b@c.de>"] * 10_000) + "\n",
    "dynamic-name": HEAD + "Dynamic: name\n",
    "dynamic-version": HEAD + "Dynamic: Version\n",
    "import-name-before-2.5": HEAD + "Import-Name: acme\n",
    "empty-import-name-before-2.5": HEAD + "Import-Name:\n",
    "import-namespace-before-2.5": HEAD + "Import-Namespace: acme\n",
    "import-name-in-both-fields": HEAD_2_5 + "Import-Name: a.b; private\nImport-Namespace: a.b\n",
    "empty-import-namespace": HEAD_2_5 + "Import-Namespace:\n",
    "line-without-colon": HEAD + "hello\n",
    "first-line-of-a-mailbox": "From someone\n" + HEAD,
    "folded-first-line": " folded\n" + HEAD,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_misleading_metadata_is_refused(raw: str | bytes) -> None:
    """Metadata that clients would be misled by is refused with a sentence in ASCII."""
    with refused(Invalid, "invalid_metadata") as caught:
        parse_metadata(raw if isinstance(raw, bytes) else raw.encode())
    assert caught.value.message.isascii()
    assert len(caught.value.message) < 300
    assert caught.value.fact.startswith("The metadata is refused: ")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("byte-order-mark", "it begins with a byte order mark"),
        ("lone-cr", "a header contains a carriage return"),
    ],
)
def test_characters_that_nobody_sees_are_named(row: str, why: str) -> None:
    """Who has metadata with a character that an editor hides is told which one it is."""
    with pytest.raises(Invalid, match=why):
        parse_metadata(str(REFUSED[row]).encode())


@pytest.mark.parametrize(
    ("name", "version", "code"),
    [
        ("\u212aube", "1.0", "invalid_name"),
        ("../x", "1.0", "invalid_name"),
        ("demo", "9" * 5000, "invalid_version"),
        ("demo", "one", "invalid_version"),
    ],
    ids=["kelvin", "path", "digits", "word"],
)
def test_refuses_names_and_versions(name: str, version: str, code: str) -> None:
    """Metadata with a Name or Version that is none is refused."""
    with refused(Invalid, code):
        parse_metadata(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n".encode())


ACCEPTED: dict[str, tuple[str, str, object]] = {
    "crlf-and-folded": ("Author: a\r\n b\r\n", "author", "a b"),
    "text-body": ("Content-Type: text/plain\n\nx", "description", "x"),
    "blank-body": ("\n \n", "description", None),
    "cr-in-body": ("\na\rb\n", "description", "a\rb\n"),
    "header": ("Description: a\n        b\n       |  c\n \n", "description", "a\nb\n  c"),
    "empty-description-type": ("Description-Content-Type: \n", "description_content_type", None),
    "markdown-with-charset-and-variant": (
        "Description-Content-Type: text/markdown; charset=utf-8; variant=GFM\n",
        "description_content_type",
        "text/markdown; charset=utf-8; variant=GFM",
    ),
    "licence-expression-in-lower-case": (
        "License-Expression: mit or apache-2.0\n",
        "license_expression",
        "MIT OR Apache-2.0",
    ),
    "licence-text": ("License: a\n        b\n", "license", "a\nb"),
    "long-licence": ("License: " + "a" * 99_999, "license", "a" * 99_999),
    "unknown-classifiers": (
        "Classifier: Private :: Do Not Upload\nClassifier: Odd\n",
        "classifiers",
        ("Private :: Do Not Upload", "Odd"),
    ),
    "extra-in-another-spelling": (
        'Provides-Extra: Foo_Bar\nRequires-Dist: x; extra == "foo-bar"\n',
        "provides_extra",
        ("foo-bar",),
    ),
    "requires-python-with-blanks": ("Requires-Python: >=3.9, <4\n", "requires_python", ">=3.9, <4"),
    "requires-python-of-1-KiB-less-1": (
        "Requires-Python: >=3" + " " * 1017 + ",<4\n",
        "requires_python",
        ">=3" + " " * 1017 + ",<4",
    ),
    "long-summary": ("Summary: " + "a" * 513, "summary", "a" * 513),
    "placeholder": ("Summary: UNKNOWN\n", "summary", None),
    "placeholder-of-several-lines": ("License: UNKNOWN\n", "license", None),
    "shown-field-twice": ("Summary: a\nSummary: b\n", "summary", "a"),
    "project-urls-without-label-or-scheme": (
        f"Project-URL: https://x\nProject-URL: {'l' * 33}, javascript:x\n",
        "project_urls",
        (("", "https://x"), ("l" * 33, "javascript:x")),
    ),
    "project-url-label-twice": (
        "Project-URL: a, https://x\nProject-URL: a, https://y\n",
        "project_urls",
        (("a", "https://x"),),
    ),
    "author-email-with-a-tail": (
        'Author-email: "a" <x@y>, evil\n',
        "author_email",
        '"a" <x@y>, evil',
    ),
    "dynamic-licence-file": ("Dynamic: License-File\n", "dynamic", ("license-file",)),
    "unknown-header": ("X-Foo: 1\n", "summary", None),
}


@pytest.mark.parametrize(("rest", "field", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_harmless_metadata_is_accepted(rest: str, field: str, value: object) -> None:
    """Whatever is harmless is accepted, and shown as it was meant."""
    core = parsed(rest)
    assert getattr(core, field) == value
    assert metadata_warnings(core) == ()


@pytest.mark.parametrize(
    ("version", "rest", "warning"),
    [
        pytest.param("2.99", "", "newer", id="newer-minor-version"),
        pytest.param(
            "2.4", "License: x\nLicense-Expression: MIT\n", "obsolete", id="licence-in-two-fields"
        ),
        pytest.param(
            "2.3",
            "License-Expression: MIT\n",
            "newer than Metadata-Version",
            id="licence-expression-before-2.4",
        ),
        pytest.param(
            "2.2", "Provides-Extra: -x-\n", "not a valid name", id="malformed-extra-before-2.3"
        ),
        *(
            pytest.param("2.4", f"Requires-Dist: foo @ {url}\n", "names a URL", id=f"{number}")
            for number, url in enumerate(
                ("file:///etc/passwd", "git+https://x/y", "https://user:pw@h/x")
            )
        ),
    ],
)
def test_unwise_metadata_is_a_warning(version: str, rest: str, warning: str) -> None:
    """What is allowed but not good comes back as a warning."""
    warnings = metadata_warnings(parsed(rest, version))
    assert len(warnings) == 1
    assert warning in warnings[0]


def test_import_names_are_read() -> None:
    """Import names and namespaces are those of the metadata, with what is private, of any name."""
    rest = "Import-Name: UNKNOWN\nImport-Name: a.b ;private\nImport-Namespace: a\n"
    imports = parsed(rest, "2.5").imports
    names = (ImportName("UNKNOWN"), ImportName("a.b", is_private=True))
    assert imports == Imports(names, (ImportName("a"),))
    assert imports.patterns == ("UNKNOWN", "a.*", "a.b")
    assert parsed("Import-Name:\n", "2.6").imports == parsed("", "2.5").imports == Imports()


IMPORT_NAMES = st.lists(st.sampled_from([*"aé1.;- ", "private", "class", "UNKNOWN"])).map("".join)


@given(st.lists(IMPORT_NAMES, max_size=3), st.sampled_from(["import-name", "import-namespace"]))
@example([""], "import-name")
@example(["", "a"], "import-name")
@example(["a.class"], "import-name")
@example(["a; public"], "import-name")
@example(["a ;private", "a-b"], "import-name")
@example([""], "import-namespace")
def test_import_names_are_those_of_packaging(values: list[str], field: str) -> None:
    """An import name is accepted exactly if other tools for packages accept it."""
    # header fields have no blanks around their values
    rest = "".join(f"{field}: {value.strip()}\n" for value in values)
    raw = (HEAD_2_5 + rest).encode()
    try:
        Metadata.from_email(raw)
    except ExceptionGroup:
        with refused(Invalid, "invalid_metadata"):
            parse_metadata(raw)
    else:
        parse_metadata(raw)


def test_invalid_import_names_hide_nothing_else() -> None:
    """Of stored metadata whose import names are invalid, all else is shown."""
    for rest in ("Import-Name: a-b\n", "Import-Name: a\nImport-Namespace: a\n"):
        core = parse_any((HEAD_2_5 + rest + "Summary: x\n").encode(), NormalizedName("demo"), "1")
        assert (core.summary, core.imports) == ("x", Imports())
    core = parse_any((HEAD + "Import-Name: a\n").encode(), NormalizedName("demo"), "1")
    assert core.imports.patterns == ("a",)


@pytest.mark.parametrize("version", ["2.2", "2.6"])
def test_a_field_may_be_static_and_dynamic(version: str) -> None:
    """A field that Dynamic names may have values, too, as PEP 808 has it, and each is kept."""
    core = parsed("Dynamic: Requires-Dist\nRequires-Dist: a\nDynamic: Classifier\n", version)
    assert (core.requires_dist, core.dynamic) == (("a",), ("requires-dist", "classifier"))
    assert metadata_warnings(core) == ()


def test_older_licence_files_are_not_followed() -> None:
    """Paths that older build tools wrote under License-File are dropped, and not refused."""
    core = parsed("License-File: ../x\nLicense-File: LICENSE\n", "2.1")
    assert core.license_files == ("LICENSE",)


def test_project_urls_are_bounded() -> None:
    """Only the first 64 project URLs are kept."""
    core = parsed("".join(f"Project-URL: {number}, https://x\n" for number in range(65)))
    assert len(core.project_urls) == 64
    assert core.project_urls[-1] == ("63", "https://x")


def test_a_header_that_is_too_long_is_named() -> None:
    """The refusal of a long header says which one it is, and has nothing of its value."""
    with refused(Invalid, "invalid_metadata", "65536 characters, here 'Summary'. Correct it"):
        parsed(f"Summary: {'x' * (HEADER_LIMIT + 1)}\n")


def test_ten_thousand_headers_are_accepted() -> None:
    """Ten thousand headers are accepted, and one more is refused."""
    for count in (9_996, 9_997):
        assert len(parsed("Classifier: a\n" * count).classifiers) == count
    with pytest.raises(Invalid):
        parsed("Classifier: a\n" * 9_998)
