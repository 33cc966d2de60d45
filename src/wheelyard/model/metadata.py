"""
Parser for core metadata (METADATA of a wheel, PKG-INFO of an sdist) and its header format.

It checks what could mislead clients. Fields that are only displayed may have any printable text.
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
"""Characters of one header. `Description` and `License` hold whole documents and are exempt."""
HEADER_COUNT_LIMIT = 10_000
REQUIRES_PYTHON_LIMIT = 1024
"""Characters of `Requires-Python`, which clients parse for each file of a page."""
REQUIRES_DIST_LIMIT = 512 * 1024
"""Characters of all `Requires-Dist` together. Parsing takes about a second per MiB."""
EXPRESSION_LIMIT = 8 * 1024
"""Characters of `License-Expression`. The longest known one has some hundreds."""
PROJECT_URL_LIMIT = 64
"""Project URLs that are used. Later ones are ignored."""

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

_SPLIT = re.compile(r"\n(?![ \t])")
"""The end of a header: a line that begins with a blank continues the one before."""
_HEADER = re.compile(r"([!-9;-~]+):(.*)", re.ASCII | re.DOTALL)
_FOLD = re.compile(r"\n[ \t]+")
_INDENT = re.compile(r"\n(?: {7}\||[ \t]{1,8})")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")

_DOCUMENTS = frozenset({"description", "license"})
_PLACEHOLDER = "UNKNOWN"
"""The value that old build tools wrote for a missing field."""

_METADATA_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_DRIVE = re.compile(r"[A-Za-z]:")

_CONTENT_TYPES = frozenset({"text/plain", "text/x-rst", "text/markdown"})
_VARIANTS = frozenset({"gfm", "commonmark"})
_PLAIN_ENCODINGS = frozenset({"7bit", "8bit", "binary"})
_IMPORT_FIELDS = ("import-name", "import-namespace")
_CHECKED_ALONE = ("requires-external", "supported-platform")
"""Fields that nothing here uses. A control character in them is refused as in others."""
_REQUIRED = frozenset({"metadata-version", "name", "version"})
"""Fields that every metadata has, and `Dynamic` cannot name."""

FIELD_LIMIT: Final = 1000
"""Fields that are parsed of invalid metadata. Later ones are ignored."""
_REPEATED: Final = frozenset(
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
"""Fields that may be repeated. Of other fields the first one counts."""
_FIELD: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*):(.*)", re.DOTALL)
_LENIENT_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")


class Headers(Struct, frozen=True):
    """
    The headers and the body of a METADATA, PKG-INFO or WHEEL file.

    What its methods raise has the code `invalid_metadata`.
    """

    fields: dict[str, tuple[str, ...]]
    """Values by lower-case name, in order, still folded."""
    body: str

    def every(self, name: str) -> tuple[str, ...]:
        """
        Return all values of a field, unfolded, without empty ones and `UNKNOWN`.

        `name` is in lower case. Raises Invalid if a value has a control character.
        """
        given = self.fields.get(name)
        if given is None:
            return ()
        values = (_unfold(name, value) for value in given)
        return tuple(value for value in values if value and value != _PLACEHOLDER)

    def first(self, name: str) -> str | None:
        """
        Return the first value of a field that is neither empty nor `UNKNOWN`, or None.

        Raises Invalid if a value has a control character.
        """
        if name not in self.fields:
            return None
        return next(iter(self.every(name)), None)

    def only(self, name: str) -> str | None:
        """
        Return the value of a field, or None if it is missing, empty or `UNKNOWN`.

        Raises Invalid if the field is repeated, or its value has a control character.
        """
        given = self.fields.get(name)
        if given is None:
            return None
        if len(given) > 1:
            raise _invalid(f"the field {name.title()} is given more than once")
        return self.first(name)

    def document(self, name: str) -> str | None:
        """
        Return a field's first value with its line breaks, but without indentation.

        Return None if it is missing, empty or `UNKNOWN`.
        """
        # a folded value is unfolded by `every`, and would lose its lines
        value = next(iter(self.fields.get(name, ())), "")
        text = _INDENT.sub("\n", value).strip()
        if not text or text == _PLACEHOLDER:
            return None
        return text


def parse_headers(raw: bytes) -> Headers:
    """
    Return the headers and the body of a METADATA, PKG-INFO or WHEEL file.

    `email` is not used: it drops what it cannot parse (a repeated `Requires-Python` disappears),
    takes a lone carriage return for a new header, and recurses into nested messages. This parser
    takes linear time.

    Raises Invalid (code `invalid_metadata`) if the bytes are not UTF-8, a line is not a header, a
    character is not allowed, or a limit is exceeded.
    """
    head, body = _decode(raw)
    fields: dict[str, list[str]] = {}
    lines = _SPLIT.split(head)
    if len(lines) > HEADER_COUNT_LIMIT:
        raise _invalid(f"there are more than {HEADER_COUNT_LIMIT} headers")
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise _invalid("a line is not a header", line)
        name = match[1].lower()
        value = match[2]
        if len(value) > HEADER_LIMIT and name not in _DOCUMENTS:
            raise _invalid(f"a header is longer than {HEADER_LIMIT} characters", match[1])
        fields.setdefault(name, []).append(value)
    return Headers({name: tuple(values) for name, values in fields.items()}, body)


def _decode(raw: bytes) -> tuple[str, str]:
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
    text = _FOLD.sub(" ", value).strip()
    if _CONTROL.search(text):
        raise _invalid(f"the field {name.title()} contains a control character", text)
    return text


def _invalid(reason: str, value: str | None = None) -> Invalid:
    """Return the error that says `reason`, the rest of a sentence, and the wrong value."""
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

    # for the check alone: a control character is refused in any field
    for field in _CHECKED_ALONE:
        headers.every(field)
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
    Return the patterns of the names that metadata say a distribution is imported by.

    Without such a field there are none. Raises Invalid (code `invalid_metadata`) if they are
    malformed, or `Metadata-Version` is none that may have them.
    """
    if headers.fields.keys().isdisjoint(_IMPORT_FIELDS):
        return ()
    return _imports(headers, _metadata_version(headers)).patterns


def metadata_warnings(core: CoreMetadata) -> tuple[str, ...]:
    """Return a warning for each valid but inadvisable field of `core`, one sentence each."""
    warnings = list[str]()
    version = f"Metadata-Version {core.format[0]}.{core.format[1]}"
    if core.format > NEWEST_VERSION:
        warnings.append(f"{version} is newer than this index knows.")
    if core.license and core.license_expression:
        warnings.append("License is obsolete beside License-Expression; remove it.")
    if core.license_expression and core.format < LICENSE_VERSION:
        warnings.append(f"License-Expression is newer than {version}.")
    for extra in core.provides_extra:
        if not _is_normal(extra):
            warnings.append(f"Provides-Extra {quoted(extra)} is not a valid name of an extra.")
    for text in core.requires_dist:
        # behind the semicolon are markers, whose texts may have anything
        if "@" in text.partition(";")[0]:
            warnings.append(f"Requires-Dist {quoted(text)} names a URL, which most indexes refuse.")
    return tuple(warnings)


def _refuse_mime_headers(headers: Headers) -> None:
    """Raise Invalid for headers by which a parser of mails would read something else."""
    # Clients parse these files with `email`, which would parse nested messages in the description,
    # or decode it.
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
    if match is None or int(match[1]) not in {1, NEWEST_VERSION[0]}:
        raise _invalid("Metadata-Version is neither 1.x nor 2.x", text)
    return int(match[1]), int(match[2])


def _description(headers: Headers) -> str | None:
    """Return the description, which may be a header, or stand behind all headers."""
    if len(headers.fields.get("description", ())) > 1:
        raise _invalid("the field Description is given more than once")
    body = headers.body if headers.body.strip() else None
    header = headers.document("description")
    if body and header:
        raise _invalid("the description is given twice, as a header and after the headers")
    return body or header


def _description_content_type(headers: Headers) -> str | None:
    """Return the type of the description, or raise Invalid for one that nothing renders."""
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
    odd = "*" in path or "\\" in path or path.startswith("/") or _DRIVE.match(path)
    return not odd and ".." not in path.split("/")


def _requires_dist(headers: Headers) -> tuple[str, ...]:
    """Return the requirements as they are written, or raise Invalid for one that is none."""
    values = headers.every("requires-dist")
    # before any is parsed, as parsing is slow
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
    with suppress(ValueError):
        if value is None or (len(value) <= REQUIRES_PYTHON_LIMIT and len(SpecifierSet(value)) > 0):
            return value
    raise _invalid("Requires-Python is not a version specifier by PEP 440", value)


def _project_urls(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return pairs of label and URL. Of several with one label the first."""
    urls: dict[str, str] = {}
    for value in headers.every("project-url"):
        label, comma, url = value.partition(",")
        if not comma:  # a URL without a label
            label = ""
            url = value
        urls.setdefault(label.strip(), url.strip())
    return tuple(urls.items())[:PROJECT_URL_LIMIT]


def _provides_extra(headers: Headers, version: tuple[int, int]) -> tuple[str, ...]:
    """Return the extras, each once, or raise Invalid for a name that cannot be one."""
    extras: dict[str, None] = {}
    for value in headers.every("provides-extra"):
        try:
            extras[canonicalize_name(value, validate=True)] = None
        except InvalidName as error:
            # since 2.3 the name has to be valid, and before it may be anything
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
    # every value counts, as a module may be called UNKNOWN
    values = [_unfold(field, value) for value in headers.fields.get(field, ())]
    if values and version < IMPORT_VERSION:
        raise _invalid(f"{field.title()} needs Metadata-Version 2.5 or newer", values[0])
    if values == [""] and field == "import-name":
        return ()  # it says that nothing can be imported
    names = list[ImportName]()
    for value in values:
        try:
            names.append(parse_import_name(value))
        except ValueError as error:
            raise _invalid(f"{field.title()} {error}", value) from error
    return tuple(names)


def _is_normal(extra: str) -> bool:
    """Return whether the name of an extra is valid and normalised."""
    with suppress(InvalidName):
        return canonicalize_name(extra, validate=True) == extra
    return False


def _dynamic(headers: Headers) -> tuple[str, ...]:
    """Return the names of the dynamic fields, in lower case, or raise Invalid."""
    values = tuple(value.lower() for value in headers.every("dynamic"))
    for value in _REQUIRED.intersection(values):
        raise _invalid("Dynamic names a field that must be fixed", value)
    return values


def parse_any(raw: bytes | None, name: NormalizedName, version: Version | str) -> CoreMetadata:
    """
    Return stored core metadata, or the name, the version and its valid fields if it is invalid.

    If nothing is stored, return metadata of the name and the version alone.
    """
    if raw is None:
        return _parsed("\n", name, version)
    try:
        return parse_metadata(raw)
    except Invalid:
        return parse_leniently(raw, name, version)


def parse_leniently(raw: bytes, name: NormalizedName, version: Version | str) -> CoreMetadata:
    """
    Return core metadata with this name and version, and the valid fields of `raw`.

    These are among the first `FIELD_LIMIT` fields. If they exceed a limit together, the description
    is left out, and if they still do, all of them.
    """
    kept = dict[str, list[str]]()
    text = raw.replace(b"\r\n", b"\n").decode(errors="replace").removeprefix("\ufeff")
    head, _, body = text.partition("\n\n")
    for line in _SPLIT.split(head)[:FIELD_LIMIT]:
        match = _FIELD.fullmatch(_LENIENT_CONTROL.sub(" ", line))
        if match is None:
            continue
        field = match[1].lower()
        value = match[2].strip()
        # name and version are those of the file, whatever the metadata says
        if field not in _REQUIRED and (field not in kept or field in _REPEATED):
            # each field is parsed alone, so that one that is invalid costs no other
            with suppress(Invalid):
                _parsed(f"{field}: {value}\n\n", name, version)
                kept.setdefault(field, []).append(value)
    _drop_contradictions(kept)
    lines = ""
    for field, values in kept.items():
        lines += "".join(f"{field}: {value}\n" for value in values)
    description = _LENIENT_CONTROL.sub(" ", body)

    # the last one has no fields, and is always valid
    for rest in (f"{lines}\n{description}", f"{lines}\n", "\n"):
        try:
            return _parsed(rest, name, version)
        except Invalid:
            continue  # the fields together exceed a limit
    raise AssertionError(name)


def _drop_contradictions(kept: dict[str, list[str]]) -> None:
    """Leave import names out that are valid alone, and contradict each other."""
    fields = {field: tuple(kept.get(field, ())) for field in _IMPORT_FIELDS}
    try:
        _imports(Headers(fields, ""), IMPORT_VERSION)
    except Invalid:
        for field in _IMPORT_FIELDS:
            kept.pop(field, None)


def raw_field(raw: bytes, field: str) -> str:
    """Return the first value of a metadata field (in lower case), unchecked, or an empty text."""
    head = raw.replace(b"\r\n", b"\n").decode(errors="replace").partition("\n\n")[0]
    for line in _SPLIT.split(head)[:FIELD_LIMIT]:
        name, _, value = line.partition(":")
        if name.strip().lower() == field:
            return value.strip()
    return ""


def _parsed(rest: str, name: NormalizedName, version: Version | str) -> CoreMetadata:
    # all fields are checked by the rules of this version
    head = f"Metadata-Version: 2.5\nName: {name}\nVersion: {version}\n"
    return parse_metadata((head + rest).encode())
