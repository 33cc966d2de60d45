"""Core metadata: what is accepted, and what is refused; ids as in the attack list."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.metadata import Metadata
from packaging.utils import NormalizedName

from tests.refused import refused
from wheelyard.errors import Invalid
from wheelyard.model.import_names import ImportName, Imports
from wheelyard.model.metadata import CoreMetadata, metadata_warnings, parse_any, parse_metadata

HEAD = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n"

HEAD_2_5 = HEAD.replace("2.4", "2.5")


def parsed(rest: str, version: str = "2.4") -> CoreMetadata:
    """Return metadata with further headers, a Metadata-Version of `version`."""
    return parse_metadata((HEAD.replace("2.4", version, 1) + rest).encode())


REFUSED: dict[str, str | bytes] = {
    "M01-no-version": "Name: demo\nVersion: 1.0\n",
    "nothing": "",
    "major": HEAD.replace("2.4", "3.0"),
    "zero": HEAD.replace("2.4", "0.9"),
    "M03-word": HEAD.replace("2.4", "banana"),
    "two-names": HEAD + "Name: evil\n",
    "two-versions": HEAD + "Version: 2\n",
    "no-name": "Metadata-Version: 2.4\nVersion: 1.0\n",
    "M04-no-version": "Metadata-Version: 2.4\nName: demo\n",
    "two-requires-python": HEAD + "Requires-Python: >=3.12\nRequires-Python: >=2\n",
    "latin-1": HEAD.encode() + b"Author: \xe9\n",
    "latin-1-body": HEAD.encode() + b"\n\xe9\n",
    "bom": "\ufeff" + HEAD,
    "lone-cr": HEAD + "Summary: a\rName: evil\n",
    "next-line": HEAD + "Summary: a\u0085b\n",
    "line-separator": HEAD + "Summary: a\u2028b\n",
    "form-feed": HEAD + "Summary: a\fb\n",
    "nul": HEAD + "Summary: a\0b\n",
    "nul-in-body": HEAD + "\na\0b\n",
    "M13-nested": HEAD + "Content-Type: message/rfc822\n\n" * 5000,
    "multipart": HEAD + "Content-Type: multipart/mixed\n\nx",
    "encoded": HEAD + "Content-Transfer-Encoding: base64\n\neA==",
    "two-descriptions": HEAD + "Description: a\n\nb\n",
    "two-headers": HEAD + "Description: a\nDescription: b\n",
    "html": HEAD + "Description-Content-Type: text/html\n",
    "other": HEAD + "Description-Content-Type: application/x\n",
    "charset": HEAD + "Description-Content-Type: text/plain; charset=latin-1\n",
    "variant": HEAD + "Description-Content-Type: text/markdown; variant=Foo\n",
    "unknown": HEAD + "License-Expression: Foo-Bar\n",
    "old-version": HEAD.replace("2.4", "2.1") + "License-Expression: MIT\n",
    "M19-nested": HEAD + "License-Expression: " + "(" * 5000 + "\n",
    "M19-long": HEAD + "License-Expression: " + "MIT AND " * 2000 + "MIT\n",
    "parent": HEAD + "License-File: ../x\n",
    "absolute": HEAD + "License-File: /etc/passwd\n",
    "drive": HEAD + "License-File: C:\\x\n",
    "drive-slash": HEAD + "License-File: C:/x\n",
    "drive-alone": HEAD + "License-File: C:x\n",
    "backslash": HEAD + "License-File: a\\x\n",
    "pattern": HEAD + "License-File: a*b\n",
    "classifiers": HEAD + "Classifier: a\n" * 100_000,
    "requirements": HEAD + "Requires-Dist: a\n" * 100_000,
    "long-requirements": HEAD + f"Requires-Dist: a>={'0' * 60_000}\n" * 9,
    "extra": HEAD.replace("2.4", "2.3") + "Provides-Extra: -x-\n",
    "bracket": HEAD + "Requires-Dist: foo (>=1\n",
    "M28-nested": HEAD + f"Requires-Dist: a; {'(' * 2000}os_name == 'x'{')' * 2000}\n",
    "M29-word": HEAD + "Requires-Python: python3\n",
    "commas": HEAD + "Requires-Python: ,\n",
    "M30-long": HEAD + "Requires-Python: " + ",".join([">=3"] * 20_000) + "\n",
    "over-1-KiB": HEAD + "Requires-Python: >=3" + " " * 1024 + ",<4\n",
    "script": HEAD + "Requires-Python: <script>\n",
    "long-line": HEAD + "Summary: " + "a" * 10_000_000 + "\n",
    "folded": HEAD + "Summary: a" + "\n a" * 500_000 + "\n",
    "addresses": HEAD + "Author-email: " + ", ".join(["a <b@c.de>"] * 10_000) + "\n",
    "name": HEAD + "Dynamic: name\n",
    "version": HEAD + "Dynamic: Version\n",
    "before-2.5": HEAD + "Import-Name: acme\n",
    "none-before-2.5": HEAD + "Import-Name:\n",
    "namespace-before-2.5": HEAD + "Import-Namespace: acme\n",
    "in-both": HEAD_2_5 + "Import-Name: a.b; private\nImport-Namespace: a.b\n",
    "no-namespace": HEAD_2_5 + "Import-Namespace:\n",
    "not-a-header": HEAD + "hello\n",
    "unix-from": "From someone\n" + HEAD,
    "folded-first": " folded\n" + HEAD,
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
    ("name", "version", "code"),
    [
        ("\u212aube", "1.0", "invalid_name"),
        ("../x", "1.0", "invalid_name"),
        ("demo", "9" * 5000, "invalid_version"),
        ("demo", "one", "invalid_version"),
    ],
    ids=["kelvin", "path", "digits", "M31-word"],
)
def test_refuses_names_and_versions(name: str, version: str, code: str) -> None:
    """Name and Version are held to the same grammar as everywhere else."""
    with refused(Invalid, code):
        parse_metadata(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n".encode())


ACCEPTED: dict[str, tuple[str, str, object]] = {
    "crlf-and-folded": ("Author: a\r\n b\r\n", "author", "a b"),
    "text": ("Content-Type: text/plain\n\nx", "description", "x"),
    "blank-body": ("\n \n", "description", None),
    "cr-in-body": ("\na\rb\n", "description", "a\rb\n"),
    "header": ("Description: a\n        b\n       |  c\n \n", "description", "a\nb\n  c"),
    "M16": ("Description-Content-Type: \n", "description_content_type", None),
    "M17": (
        "Description-Content-Type: text/markdown; charset=utf-8; variant=GFM\n",
        "description_content_type",
        "text/markdown; charset=utf-8; variant=GFM",
    ),
    "M20": ("License-Expression: mit or apache-2.0\n", "license_expression", "MIT OR Apache-2.0"),
    "licence-text": ("License: a\n        b\n", "license", "a\nb"),
    "long-licence": ("License: " + "a" * 99_999, "license", "a" * 99_999),
    "M22": (
        "Classifier: Private :: Do Not Upload\nClassifier: Odd\n",
        "classifiers",
        ("Private :: Do Not Upload", "Odd"),
    ),
    "M24": (
        'Provides-Extra: Foo_Bar\nRequires-Dist: x; extra == "foo-bar"\n',
        "provides_extra",
        ("foo-bar",),
    ),
    "M29": ("Requires-Python: >=3.9, <4\n", "requires_python", ">=3.9, <4"),
    "1-KiB-less-1": (
        "Requires-Python: >=3" + " " * 1017 + ",<4\n",
        "requires_python",
        ">=3" + " " * 1017 + ",<4",
    ),
    "M32": ("Summary: " + "a" * 513, "summary", "a" * 513),
    "placeholder": ("Summary: UNKNOWN\n", "summary", None),
    "placeholder-of-several-lines": ("License: UNKNOWN\n", "license", None),
    "shown-field-twice": ("Summary: a\nSummary: b\n", "summary", "a"),
    "M34": (
        f"Project-URL: https://x\nProject-URL: {'l' * 33}, javascript:x\n",
        "project_urls",
        (("", "https://x"), ("l" * 33, "javascript:x")),
    ),
    "M35": (
        "Project-URL: a, https://x\nProject-URL: a, https://y\n",
        "project_urls",
        (("a", "https://x"),),
    ),
    "M36": ('Author-email: "a" <x@y>, evil\n', "author_email", '"a" <x@y>, evil'),
    "M37": ("Dynamic: License-File\n", "dynamic", ("license-file",)),
    "M38": ("X-Foo: 1\n", "summary", None),
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
        pytest.param("2.99", "", "newer", id="M02"),
        pytest.param("2.4", "License: x\nLicense-Expression: MIT\n", "obsolete", id="M18"),
        pytest.param("2.3", "License-Expression: MIT\n", "newer than Metadata-Version", id="M19"),
        pytest.param("2.2", "Provides-Extra: -x-\n", "not a valid name", id="M25"),
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
    """M21: paths that older build tools wrote under License-File are dropped, not refused."""
    core = parsed("License-File: ../x\nLicense-File: LICENSE\n", "2.1")
    assert core.license_files == ("LICENSE",)


def test_project_urls_are_bounded() -> None:
    """Only the first 64 project URLs are kept."""
    core = parsed("".join(f"Project-URL: {number}, https://x\n" for number in range(65)))
    assert len(core.project_urls) == 64
    assert core.project_urls[-1] == ("63", "https://x")


def test_ten_thousand_headers_are_accepted() -> None:
    """M23: ten thousand headers are accepted, one more is refused."""
    for count in (9_996, 9_997):
        assert len(parsed("Classifier: a\n" * count).classifiers) == count
    with pytest.raises(Invalid):
        parsed("Classifier: a\n" * 9_998)
