"""
Parser for core metadata (METADATA of a wheel, PKG-INFO of an sdist) and its header format.

The parser checks what could mislead clients. Fields that are only displayed may have any printable
text.
Follows the core metadata specifications up to 2.6. Unknown fields of later minor versions are
ignored.
"""

import re
from contextlib import suppress
from typing import Final

from msgspec import Struct
from packaging.licenses import canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidName, NormalizedName, canonicalize_name
from packaging.version import Version

from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.import_names import ImportName, Imports, names_of_both, parse_import_name

HEADER_LIMIT = 64 * 1024
"""The most characters of a header, but for `Description` and `License`: these are documents."""
HEADER_COUNT_LIMIT = 10_000
REQUIRES_PYTHON_LIMIT = 1024
"""The most characters of `Requires-Python`, which clients parse for each file of a page."""
REQUIRES_DIST_LIMIT = 512 * 1024
"""The most characters of all `Requires-Dist` together. A MiB takes about a second to parse."""
EXPRESSION_LIMIT = 8 * 1024
"""The most characters of `License-Expression`. The longest known one has some hundreds."""
PROJECT_URL_LIMIT = 64
"""How many project URLs are used. Further ones are ignored."""

NEWEST_VERSION = (2, 6)
"""The highest `Metadata-Version` whose fields are all known."""
LICENSE_VERSION = (2, 4)
"""The `Metadata-Version` that specified `License-Expression` and `License-File`."""
MIN_EXPRESSION_VERSION = (2, 2)
"""
The lowest `Metadata-Version` that may have `License-Expression`.

Many wheels of 2024 have it with 2.3, and clients read it.
"""
IMPORT_VERSION = (2, 5)
"""The `Metadata-Version` that specified `Import-Name` and `Import-Namespace`."""

_HEADER_END = re.compile(r"\n(?![ \t])")
"""The end of a header: a line break before a line that does not begin with a blank."""
_HEADER = re.compile(r"([!-9;-~]+):(.*)", re.ASCII | re.DOTALL)
_FOLDED_LINE = re.compile(r"\n[ \t]+")
_INDENTATION = re.compile(r"\n(?: {7}\||[ \t]{1,8})")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")

_DOCUMENT_FIELDS = frozenset({"description", "license"})
_PLACEHOLDER = "UNKNOWN"
"""The value that old build tools wrote for a missing field."""

_METADATA_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:")

_CONTENT_TYPES = frozenset({"text/plain", "text/x-rst", "text/markdown"})
_VARIANTS = frozenset({"gfm", "commonmark"})
_PLAIN_ENCODINGS = frozenset({"7bit", "8bit", "binary"})
_IMPORT_FIELDS = ("import-name", "import-namespace")
_CHECKED_ALONE = ("requires-external", "supported-platform")
"""Fields that nothing here uses, and that are checked for control characters all the same."""
_REQUIRED_FIELDS = frozenset({"metadata-version", "name", "version"})
"""Fields that every metadata has, and `Dynamic` cannot name."""

FIELD_LIMIT: Final = 1000
"""How many fields are parsed of invalid metadata. Further ones are ignored."""
_REPEATABLE: Final = frozenset(
    {
        "classifier",
        "dynamic",
        "import-name",
        "import-namespace",
        "license-file",
        "platform",
        "project-url",
        "provides-extra",
        "requires-dist",
        "requires-external",
        "supported-platform",
    }
)
"""Fields that may be repeated. Of any other field the first value counts."""
_LENIENT_HEADER: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*):(.*)", re.DOTALL)
_LENIENT_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")


class Headers(Struct, frozen=True):
    """
    The headers and the body of a METADATA, PKG-INFO or WHEEL file.

    The errors of the methods have the code `invalid_metadata`.
    """

    fields: dict[str, tuple[str, ...]]
    """The values of each field by its name in lower case, in their order, still folded."""
    body: str
    """The text behind all headers."""

    def every(self, name: str) -> tuple[str, ...]:
        """
        Return all values of a field, unfolded, without empty ones and `UNKNOWN`.

        `name` is in lower case. Raises Invalid if a value has a control character.
        """
        folded_values = self.fields.get(name)
        if folded_values is None:
            return ()
        values = [_unfold(name, value) for value in folded_values]
        return tuple(value for value in values if value and value != _PLACEHOLDER)

    def first(self, name: str) -> str | None:
        """
        Return the first value of a field that is neither empty nor `UNKNOWN`.

        None if the field has no such value. Raises Invalid if a value has a control character.
        """
        values = self.every(name)
        if not values:
            return None
        return values[0]

    def only(self, name: str) -> str | None:
        """
        Return the value of a field, or None if it is missing, empty or `UNKNOWN`.

        Raises Invalid if the field is repeated, or its value has a control character.
        """
        folded_values = self.fields.get(name)
        if folded_values is None:
            return None
        if len(folded_values) > 1:
            raise _invalid(f"the field {name.title()} is given more than once")
        return self.first(name)

    def document(self, name: str) -> str | None:
        """
        Return the first value of a field with its line breaks, but without indentation.

        None if this value is missing, empty or `UNKNOWN`.
        """
        if name not in self.fields:
            return None
        # the value is still folded, as `every` would take its line breaks out
        value = self.fields[name][0]
        text = _INDENTATION.sub("\n", value).strip()
        if not text or text == _PLACEHOLDER:
            return None
        return text


def parse_headers(raw: bytes) -> Headers:
    """
    Return the headers and the body of a METADATA, PKG-INFO or WHEEL file.

    The module `email` is not used: it drops what it cannot parse (a repeated `Requires-Python`
    disappears), takes a lone carriage return for a new header, and recurses into nested messages.
    This parser takes linear time.

    Raises Invalid (code `invalid_metadata`) if the bytes are not UTF-8, a line is not a header, a
    character is not allowed, or a limit is exceeded.
    """
    head, body = _decode(raw)
    fields: dict[str, list[str]] = {}
    headers = _HEADER_END.split(head)
    if len(headers) > HEADER_COUNT_LIMIT:
        raise _invalid(f"there are more than {HEADER_COUNT_LIMIT} headers")
    for header in headers:
        match = _HEADER.fullmatch(header)
        if match is None:
            raise _invalid("a line is not a header", header)
        name = match[1].lower()
        value = match[2]
        if len(value) > HEADER_LIMIT and name not in _DOCUMENT_FIELDS:
            raise _invalid(f"a header is longer than {HEADER_LIMIT} characters", match[1])
        fields.setdefault(name, []).append(value)
    return Headers({name: tuple(values) for name, values in fields.items()}, body)


def _decode(raw: bytes) -> tuple[str, str]:
    """Return the text of all headers and the body of a file, or raise Invalid."""
    try:
        text = raw.replace(b"\r\n", b"\n").decode()
    except UnicodeDecodeError as error:
        raise _invalid("it is not UTF-8 text") from error
    if text.startswith("\ufeff"):
        raise _invalid("it begins with a byte order mark")
    if "\0" in text:
        raise _invalid("it contains a NUL character")
    head, _, body = text.partition("\n\n")
    if "\r" in head:
        raise _invalid("a header contains a carriage return, where some clients begin a new one")
    return head.rstrip("\n"), body


def _unfold(name: str, value: str) -> str:
    """Return the value of a field on one line, or raise Invalid for a control character."""
    text = _FOLDED_LINE.sub(" ", value).strip()
    if _CONTROL.search(text):
        raise _invalid(f"the field {name.title()} contains a control character", text)
    return text


def _invalid(reason: str, value: str | None = None) -> Invalid:
    """Return the error (code `invalid_metadata`) with a reason, and the wrong value if given."""
    example = "" if value is None else f", here {quoted(value)}"
    return Invalid(
        f"The metadata is refused: {reason}{example}. Correct it and build the file again.",
        code="invalid_metadata",
    )


class CoreMetadata(Struct, frozen=True, kw_only=True):  # an export makes thousands
    """
    The core metadata of a distribution.

    The description and the licence keep their lines. Other values are unfolded. Valid extras are
    normalised, and a licence expression is canonical. Values are untrusted, and have to be escaped
    in pages.
    """

    format: tuple[int, int]
    """The `Metadata-Version` as two numbers."""
    name: str
    version: str
    summary: str | None
    description: str | None
    description_content_type: str | None
    keywords: str | None
    home_page: str | None
    download_url: str | None
    author: str | None
    author_email: str | None
    maintainer: str | None
    maintainer_email: str | None
    license: str | None
    license_expression: str | None
    license_files: tuple[str, ...]
    classifiers: tuple[str, ...]
    requires_dist: tuple[str, ...]
    requires_python: str | None
    project_urls: tuple[tuple[str, str], ...]
    """Pairs of label and URL. Labels are unique and may be empty."""
    provides_extra: tuple[str, ...]
    platforms: tuple[str, ...]
    imports: Imports
    dynamic: tuple[str, ...]
    """Names of fields, in lower case."""


def parse_metadata(raw: bytes) -> CoreMetadata:
    """
    Return the core metadata of a METADATA or PKG-INFO file, whose length the caller limits.

    Raises Invalid (codes `invalid_metadata`, `invalid_name`, `invalid_version`) if it violates the
    core metadata specifications in a way that could mislead a client.
    """
    headers = parse_headers(raw)
    version = _metadata_version(headers)
    name = headers.only("name")
    release = headers.only("version")
    if name is None:
        raise _invalid("the field Name is missing")
    if release is None:
        raise _invalid("the field Version is missing")
    parse_name(name)
    parse_version(release)
    _refuse_mime_headers(headers)

    for field in _CHECKED_ALONE:
        headers.every(field)  # raises for a control character
    return CoreMetadata(
        format=version,
        name=name,
        version=release,
        summary=headers.first("summary"),
        description=_description(headers),
        description_content_type=_description_content_type(headers),
        keywords=headers.first("keywords"),
        home_page=headers.first("home-page"),
        download_url=headers.first("download-url"),
        author=headers.first("author"),
        author_email=headers.first("author-email"),
        maintainer=headers.first("maintainer"),
        maintainer_email=headers.first("maintainer-email"),
        license=headers.document("license"),
        license_expression=_license_expression(headers, version),
        license_files=_license_files(headers, version),
        classifiers=headers.every("classifier"),
        requires_dist=_requires_dist(headers),
        requires_python=_requires_python(headers),
        project_urls=_project_urls(headers),
        provides_extra=_provides_extra(headers, version),
        platforms=headers.every("platform"),
        imports=_imports(headers, version),
        dynamic=_dynamic(headers),
    )


def import_patterns(headers: Headers) -> tuple[str, ...]:
    """
    Return the patterns of the names by which a distribution is imported, from its metadata.

    Without `Import-Name` and `Import-Namespace` there are no patterns. Raises Invalid (code
    `invalid_metadata`) if a field is malformed, or `Metadata-Version` is too low for these fields.
    """
    if headers.fields.keys().isdisjoint(_IMPORT_FIELDS):
        return ()
    return _imports(headers, _metadata_version(headers)).patterns


def metadata_warnings(core: CoreMetadata) -> tuple[str, ...]:
    """Return a warning, in one sentence, for each valid field that has disadvantages."""
    warnings = list[str]()
    version = f"Metadata-Version {core.format[0]}.{core.format[1]}"
    if core.format > NEWEST_VERSION:
        warnings.append(f"{version} is newer than this index knows.")
    if core.license and core.license_expression:
        warnings.append("License is obsolete beside License-Expression; remove it.")
    if core.license_expression and core.format < LICENSE_VERSION:
        warnings.append(f"License-Expression is newer than {version}.")
    for extra in core.provides_extra:
        if not _is_normalised_extra(extra):
            warnings.append(f"Provides-Extra {quoted(extra)} is not a valid name of an extra.")
    for text in core.requires_dist:
        # the markers behind the semicolon may have an @ in their texts
        requirement, _, _ = text.partition(";")
        if "@" in requirement:
            warnings.append(f"Requires-Dist {quoted(text)} names a URL, which most indexes refuse.")
    return tuple(warnings)


def _refuse_mime_headers(headers: Headers) -> None:
    """Raise Invalid for headers by which a parser of mail would change the description."""
    # Clients parse these files with the module `email`, which follows these headers: it would parse
    # messages that are nested in the description, or decode the description.
    content_type = headers.only("content-type") or "text/plain"
    encoding = headers.only("content-transfer-encoding") or "8bit"
    if not content_type.lower().startswith("text/"):
        raise _invalid("Content-Type is not text", content_type)
    if encoding.lower() not in _PLAIN_ENCODINGS:
        raise _invalid("Content-Transfer-Encoding hides the description", encoding)


def _metadata_version(headers: Headers) -> tuple[int, int]:
    """Return the `Metadata-Version` as two numbers, or raise Invalid."""
    text = headers.only("metadata-version")
    if text is None:
        raise _invalid("the field Metadata-Version is missing")
    match = _METADATA_VERSION.fullmatch(text)
    newest_major, _ = NEWEST_VERSION
    if match is None or int(match[1]) not in {1, newest_major}:
        raise _invalid("Metadata-Version is neither 1.x nor 2.x", text)
    return int(match[1]), int(match[2])


def _description(headers: Headers) -> str | None:
    """Return the description from its header or the body, or raise Invalid if both have one."""
    if len(headers.fields.get("description", ())) > 1:
        raise _invalid("the field Description is given more than once")
    body = headers.body if headers.body.strip() else None
    header = headers.document("description")
    if body and header:
        raise _invalid("the description is given twice, as a header and after the headers")
    return body or header


def _description_content_type(headers: Headers) -> str | None:
    """Return the type of the description, or raise Invalid for a type that nothing renders."""
    value = headers.only("description-content-type")
    if value is None:
        return None
    kind, _, parameters = value.partition(";")
    kind = kind.strip().lower()
    options = {}
    for parameter in parameters.split(";"):
        key, _, option = parameter.partition("=")
        options[key.strip().lower()] = option.strip().strip('"').lower()
    if kind not in _CONTENT_TYPES:
        expected = "text/plain, text/x-rst or text/markdown"
        raise _invalid(f"Description-Content-Type is not {expected}", value)
    if options.get("charset", "utf-8") not in {"utf-8", "utf8"}:
        raise _invalid("the charset of Description-Content-Type is not UTF-8", value)
    if kind == "text/markdown" and options.get("variant", "gfm") not in _VARIANTS:
        raise _invalid("the variant of Description-Content-Type is not GFM or CommonMark", value)
    return value


def _license_expression(headers: Headers, version: tuple[int, int]) -> str | None:
    """Return the licence expression in canonical form, or raise Invalid if it is none."""
    value = headers.only("license-expression")
    if value is None:
        return None
    if version < MIN_EXPRESSION_VERSION:
        raise _invalid("License-Expression needs Metadata-Version 2.4 or newer", value)
    with suppress(ValueError, RecursionError, MemoryError):
        if len(value) <= EXPRESSION_LIMIT:
            return canonicalize_license_expression(value)
    raise _invalid("License-Expression is not an SPDX expression", value)


def _license_files(headers: Headers, version: tuple[int, int]) -> tuple[str, ...]:
    """Return the paths of licences, or raise Invalid for one that leads out of its folder."""
    paths = headers.every("license-file")
    if version < LICENSE_VERSION:
        # Build tools wrote the field before it was specified; nothing uses those paths.
        return tuple(path for path in paths if _is_plain_path(path))
    for path in paths:
        if not _is_plain_path(path):
            raise _invalid("License-File is not a plain relative path", path)
    return paths


def _is_plain_path(path: str) -> bool:
    """Return whether a path is relative, and stays below its folder, also on Windows."""
    has_odd_characters = "*" in path or "\\" in path
    is_absolute = path.startswith("/") or _WINDOWS_DRIVE.match(path) is not None
    return not has_odd_characters and not is_absolute and ".." not in path.split("/")


def _requires_dist(headers: Headers) -> tuple[str, ...]:
    """Return the requirements as they are written, or raise Invalid for one that is malformed."""
    values = headers.every("requires-dist")
    # checked before the first requirement is parsed, as parsing is slow
    if sum(map(len, values)) > REQUIRES_DIST_LIMIT:
        raise _invalid(f"the fields Requires-Dist are over {REQUIRES_DIST_LIMIT} characters")
    for value in values:
        try:
            Requirement(value)
        except (ValueError, RecursionError) as error:
            raise _invalid("Requires-Dist is not a requirement by PEP 508", value) from error
    return values


def _requires_python(headers: Headers) -> str | None:
    """Return `Requires-Python` as it is written, or raise Invalid if it is no specifier."""
    value = headers.only("requires-python")
    if value is None:
        return None
    with suppress(ValueError):
        if len(value) <= REQUIRES_PYTHON_LIMIT and len(SpecifierSet(value)) > 0:
            return value
    raise _invalid("Requires-Python is not a version specifier by PEP 440", value)


def _project_urls(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return pairs of label and URL. Of several URLs with one label the first one is used."""
    urls: dict[str, str] = {}
    for value in headers.every("project-url"):
        label, comma, url = value.partition(",")
        if not comma:  # a URL without a label
            label = ""
            url = value
        urls.setdefault(label.strip(), url.strip())
    return tuple(urls.items())[:PROJECT_URL_LIMIT]


def _provides_extra(headers: Headers, version: tuple[int, int]) -> tuple[str, ...]:
    """Return the extras, each once, or raise Invalid for a name that no extra can have."""
    extras: dict[str, None] = {}
    for value in headers.every("provides-extra"):
        try:
            extras[canonicalize_name(value, validate=True)] = None
        except InvalidName as error:
            # since Metadata-Version 2.3 the name has to be valid
            if version >= (2, 3):
                raise _invalid("Provides-Extra is not a valid name", value) from error
            extras[value] = None
    return tuple(extras)


def _imports(headers: Headers, version: tuple[int, int]) -> Imports:
    """Return the names that a distribution is imported by (PEP 794), or raise Invalid."""
    if headers.fields.keys().isdisjoint(_IMPORT_FIELDS):
        return Imports()
    names = _import_names(headers, "import-name", version)
    namespaces = _import_names(headers, "import-namespace", version)
    imports = Imports(names, namespaces)
    for name in names_of_both(imports):
        raise _invalid("Import-Name and Import-Namespace have the same name", name)
    return imports


def _import_names(headers: Headers, field: str, version: tuple[int, int]) -> tuple[ImportName, ...]:
    """Return the names in one of the fields of PEP 794, or raise Invalid."""
    # not by `every`, which drops `UNKNOWN`: a module may have this name
    values = [_unfold(field, value) for value in headers.fields.get(field, ())]
    if values and version < IMPORT_VERSION:
        raise _invalid(f"{field.title()} needs Metadata-Version 2.5 or newer", values[0])
    if values == [""] and field == "import-name":
        return ()  # an empty field says that nothing can be imported
    names = list[ImportName]()
    for value in values:
        try:
            names.append(parse_import_name(value))
        except ValueError as error:
            raise _invalid(f"{field.title()} {error}", value) from error
    return tuple(names)


def _is_normalised_extra(extra: str) -> bool:
    """Return whether the name of an extra is valid and normalised."""
    with suppress(InvalidName):
        return canonicalize_name(extra, validate=True) == extra
    return False


def _dynamic(headers: Headers) -> tuple[str, ...]:
    """Return the names of the dynamic fields, in lower case, or raise Invalid."""
    values = tuple(value.lower() for value in headers.every("dynamic"))
    for value in _REQUIRED_FIELDS.intersection(values):
        raise _invalid("Dynamic names a field that must be fixed", value)
    return values


def parse_any(raw: bytes | None, name: NormalizedName, version: Version | str) -> CoreMetadata:
    """
    Return stored core metadata, with only its valid fields if it is invalid.

    `name` and `version` replace those of invalid metadata. If `raw` is None, nothing is stored, and
    the result has the name and the version alone.
    """
    if raw is None:
        return _parse_fields("\n", name, version)
    try:
        return parse_metadata(raw)
    except Invalid:
        return parse_leniently(raw, name, version)


def parse_leniently(raw: bytes, name: NormalizedName, version: Version | str) -> CoreMetadata:
    """
    Return core metadata with this name and version, and the valid fields of `raw`.

    Only the first `FIELD_LIMIT` fields are read. If the valid fields together exceed a limit, the
    description is left out. If the other fields still exceed a limit, all fields are left out.
    """
    text = raw.replace(b"\r\n", b"\n").decode(errors="replace").removeprefix("\ufeff")
    head, _, body = text.partition("\n\n")
    valid_fields = _valid_fields(head, name, version)
    _drop_contradictions(valid_fields)
    lines = ""
    for field, values in valid_fields.items():
        lines += "".join(f"{field}: {value}\n" for value in values)
    description = _LENIENT_CONTROL.sub(" ", body)

    # the last candidate has no fields, and is always valid
    for candidate in (f"{lines}\n{description}", f"{lines}\n", "\n"):
        try:
            return _parse_fields(candidate, name, version)
        except Invalid:
            continue  # the fields together exceed a limit
    raise AssertionError(name)


def _valid_fields(head: str, name: NormalizedName, version: Version | str) -> dict[str, list[str]]:
    """Return the values of the fields in the headers of a file that are valid, each on its own."""
    fields = dict[str, list[str]]()
    for header in _HEADER_END.split(head)[:FIELD_LIMIT]:
        match = _LENIENT_HEADER.fullmatch(_LENIENT_CONTROL.sub(" ", header))
        if match is None:
            continue
        field = match[1].lower()
        value = match[2].strip()
        # the name and the version are those of the file, whatever the metadata says
        is_first_or_repeatable = field not in fields or field in _REPEATABLE
        if field in _REQUIRED_FIELDS or not is_first_or_repeatable:
            continue
        # each field is parsed alone, so that a field is kept if another one is invalid
        with suppress(Invalid):
            _parse_fields(f"{field}: {value}\n\n", name, version)
            fields.setdefault(field, []).append(value)
    return fields


def _drop_contradictions(fields: dict[str, list[str]]) -> None:
    """Remove the import names from `fields` if they contradict each other."""
    import_fields = {field: tuple(fields.get(field, ())) for field in _IMPORT_FIELDS}
    try:
        _imports(Headers(import_fields, ""), IMPORT_VERSION)
    except Invalid:
        for field in _IMPORT_FIELDS:
            fields.pop(field, None)


def raw_field(raw: bytes, field: str) -> str:
    """Return the first value of a metadata field (in lower case), unchecked, or an empty text."""
    text = raw.replace(b"\r\n", b"\n").decode(errors="replace")
    head, _, _ = text.partition("\n\n")
    for header in _HEADER_END.split(head)[:FIELD_LIMIT]:
        name, _, value = header.partition(":")
        if name.strip().lower() == field:
            return value.strip()
    return ""


def _parse_fields(fields: str, name: NormalizedName, version: Version | str) -> CoreMetadata:
    """Return the metadata with this name and version, and further lines, or raise Invalid."""
    # Metadata-Version 2.5 has rules for all fields that are read
    head = f"Metadata-Version: 2.5\nName: {name}\nVersion: {version}\n"
    return parse_metadata(f"{head}{fields}".encode())
