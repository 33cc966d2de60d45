"""
Parsers for filenames of distributions, and for the project names, versions and URLs in them.

Uploads accept wheels and `.tar.gz` sdists. `.zip` sdists are accepted if the operator allows them,
and in lenient imports. Only files that a store has from earlier versions have the other formats:
further sdists, eggs, and installers of distutils.

The order of the checks matters (ASCII, bytes, length, our grammar, then packaging): packaging alone
accepts newlines, path separators and look-alike letters, and takes seconds for a filename with
thousands of tags. Follows the binary distribution format and source distribution format
specifications, PEP 440, PEP 625, and for wheels with a label PEP 825, a draft.

Old build tools wrote a version with a hyphen unchanged into the name of an sdist, so that
`demo-1.0-1.tar.gz` is version 1.0-1 of demo, or version 1 of demo-1.0. So a filename has a reading
for each hyphen that has a project name before it and a version behind it. Clients know the project,
and take the reading of this project. This module does the same for a caller that knows the project,
and never guesses.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from math import prod
from typing import ClassVar, NewType, TypeVar
from urllib.parse import quote

from msgspec import Struct
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import (
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    canonicalize_version,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from wheelyard.errors import Invalid, quoted

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits."""

FILENAME_LIMIT = 200
"""The most bytes of a filename: `.metadata` and a temporary suffix must still fit into 255."""
NAME_LIMIT = 128
"""The most characters of a project name."""
VERSION_LIMIT = 128
"""The most characters of a version."""
VERSION_SET_LIMIT = 256
"""The most characters of a set of versions."""
DIGIT_RUN_LIMIT = 64
"""The most digits in a row in a version."""
TAG_LIMIT = 1000
"""The most combinations of compressed wheel tags."""
LABEL_LIMIT = 64
"""The most characters of the label of a wheel variant."""
VARIANTS_SUFFIX = "-variants.json"
"""The end of the name of the document about all wheel variants of a release."""

RESERVED_NAMES = frozenset({"simple", "pypi", "legacy", "namespaces", "namespace"})
"""Names that no new project gets, because other pages have the paths of these names."""

_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", re.ASCII)
_FILENAME_PART = r"[A-Za-z0-9_.+!]+"
_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)
_WHEEL = re.compile(
    rf"(?P<name>{_FILENAME_PART})-(?P<version>{_FILENAME_PART})(-[0-9][A-Za-z0-9_.]*)?"
    rf"-(?P<tags>{_FILENAME_PART}-{_FILENAME_PART}-{_FILENAME_PART})"
    rf"(?:-(?P<label>[0-9a-z_.]{{1,{LABEL_LIMIT}}}))?\.whl",
    re.ASCII,
)
_LABEL_HYPHENS = 5
"""The fewest hyphens in the name of a wheel with a label."""
SDIST_SUFFIX = ".tar.gz"
ZIP_SUFFIX = ".zip"
LENIENT_SUFFIXES = (SDIST_SUFFIX, ZIP_SUFFIX, ".tgz")
"""Suffixes of the sdists that a lenient import takes."""
ACCEPTED_FORMATS = "wheels, .tar.gz and .zip"
"""The formats that an index with files of old formats takes, for messages."""
SDIST_SUFFIXES = (*LENIENT_SUFFIXES, ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar")
"""Suffixes of sdists, also of formats that only an older version has taken."""

_SDIST = re.compile(
    rf"(?P<stem>[A-Za-z0-9_.+!-]+?)(?:{'|'.join(map(re.escape, SDIST_SUFFIXES))})", re.ASCII
)
_HYPHEN = re.compile("-(?=[vV]?[0-9])")
"""A hyphen that may have a version behind it."""
_VERSION_HYPHENS = 4
"""The most hyphens of a version: one before it, and before the numbers of `a`, `post`, `dev`."""
_EGG = re.compile(
    rf"(?P<name>{_FILENAME_PART})-(?P<version>{_FILENAME_PART})"
    r"(?:-py(?P<python>[0-9.]+)(?:-(?P<platform>[A-Za-z0-9_.-]+))?)?\.egg",
    re.ASCII,
)
_INSTALLER = re.compile(
    r"(?P<stem>[A-Za-z0-9_.+!-]+?)"
    r"\.(?P<platform>win32|win-(?:amd64|arm32|arm64|ia64)|linux-[a-z0-9_]+|macosx-[a-z0-9_.-]+?)"
    r"(?:-py(?P<python>[0-9.]+))?\.(?:exe|msi)",
    re.ASCII,
)
_UNSAFE_IN_URL = re.compile(r"[^A-Za-z0-9_.~-]")
_LONG_DIGIT_RUN = re.compile(rf"[0-9]{{{DIGIT_RUN_LIMIT + 1}}}")
_TRAILING_ZEROS = re.compile(r"\A((?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*?)(?:\.0)+(?=\Z|[abr+]|\.[pd])")
_ARCHIVE_EXTENSIONS = (".whl", ".gz", ".zip", ".egg", ".tar")
_NO_TAG_WORDS = frozenset(extension[1:] for extension in _ARCHIVE_EXTENSIONS)
"""Words that are not allowed as wheel tags, because they are file extensions."""
_PACKAGETYPE_OF_OBSOLETE = {".egg": "bdist_egg", ".exe": "bdist_wininst", ".msi": "bdist_msi"}
"""Obsolete binary formats, by suffix."""
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x20\x7f/\\%:]")

UniquenessKey = tuple[str, ...]
"""Two filenames with one key differ only in spelling, or are sdists in two formats."""

KnownT = TypeVar("KnownT", bound="KnownDistribution")


class Sdist(Struct, frozen=True):
    """The parsed filename of an sdist."""

    packagetype: ClassVar[str] = "sdist"
    """The name of this kind of distribution at PyPI."""
    python_version: ClassVar[str] = "source"
    """`python_version` in PyPI's JSON API."""
    filename: str
    project: NormalizedName
    version: Version

    @property
    def uniqueness_key(self) -> UniquenessKey:
        """A tuple of kind and version, which all sdists of a release share."""
        return ("sdist", canonicalize_version(self.version))

    @property
    def suffix(self) -> str:
        """The suffix of the filename, which says the archive format, such as `.tar.gz`."""
        return next(suffix for suffix in SDIST_SUFFIXES if self.filename.endswith(suffix))


class Wheel(Struct, frozen=True):
    """The parsed filename of a wheel."""

    packagetype: ClassVar[str] = "bdist_wheel"
    filename: str
    project: NormalizedName
    version: Version
    build: str
    """The build tag as PEP 427 orders it, or an empty string."""
    tags: tuple[str, ...]
    """Sorted: `py3-none-any`."""
    label: str = ""
    """The label of a wheel variant (PEP 825), or an empty string."""

    @property
    def uniqueness_key(self) -> UniquenessKey:
        """A tuple of kind, version, build tag, label and tags, unique except for the spelling."""
        release = canonicalize_version(self.version)
        return ("wheel", release, self.build, self.label, *self.tags)

    @property
    def python_version(self) -> str:
        """The Python tag of the filename, which is `python_version` in PyPI's JSON API."""
        return without_label(self.filename).split("-")[-3]


class ObsoleteDistribution(Struct, frozen=True):
    """The parsed filename of an egg, or of an installer made by distutils."""

    filename: str
    project: NormalizedName
    version: Version
    packagetype: str
    """The name of this kind at PyPI: bdist_egg, bdist_wininst or bdist_msi."""
    python_version: str
    """The Python version, or `any`."""
    platform: str
    """The platform as in the filename, or empty for all platforms."""

    @property
    def uniqueness_key(self) -> UniquenessKey:
        """A tuple of kind, version, Python version and platform, unique except for the spelling."""
        release = canonicalize_version(self.version)
        return (self.packagetype, release, self.python_version, self.platform)


def label_of(filename: str) -> str:
    """Return the label in the name of a wheel, or an empty text for any other filename."""
    # most names have too few hyphens, which takes an expression ten times as long to see
    if filename.count("-") < _LABEL_HYPHENS or not filename.endswith(".whl"):
        return ""
    match = _WHEEL.fullmatch(filename)
    if match is None:
        return ""
    return match["label"] or ""


def without_label(filename: str) -> str:
    """Return the name of a wheel as it would be without its label."""
    label = label_of(filename)
    if label:
        return f"{filename.removesuffix(f'-{label}.whl')}.whl"
    return filename


Distribution = Sdist | Wheel
KnownDistribution = Distribution | ObsoleteDistribution
"""A file that a store may have."""


def parse_name(text: str) -> NormalizedName:
    """
    Return the normalised project name in `text`.

    Raises Invalid (code `invalid_name`) if the text is malformed.
    """
    if len(text) <= NAME_LIMIT and _NAME.fullmatch(text):
        return canonicalize_name(text)
    raise Invalid(
        f"{quoted(text)} is not a project name. Use up to {NAME_LIMIT} letters, digits, '.', '_' "
        "and '-', with a letter or a digit at both ends.",
        code="invalid_name",
    )


@lru_cache(256)  # filename, form and metadata of an upload have the same digest
def parse_sha256(text: str) -> Sha256:
    """
    Return a SHA-256 with lower-case digits.

    Raises Invalid (code `invalid_field`) if the text is no SHA-256.
    """
    digest = text.lower()
    if not _SHA256.fullmatch(digest):
        message = f"{quoted(text)} is no SHA-256. Write its 64 hexadecimal digits."
        raise Invalid(message, code="invalid_field")
    return Sha256(digest)


def parse_version(text: str) -> Version:
    """
    Return the PEP 440 version in `text`.

    Raises Invalid (code `invalid_version`) if the text is malformed or too long.
    """
    if text.isascii() and len(text) <= VERSION_LIMIT and not _LONG_DIGIT_RUN.search(text):
        with suppress(InvalidVersion, ValueError):
            # packaging takes blanks around a version, and no filename or page may have them
            if text == text.strip():
                return Version(text)
    why = "is not a version by PEP 440"
    if len(text) > VERSION_LIMIT:
        why = f"has more than {VERSION_LIMIT} characters"
    raise Invalid(
        f"{quoted(text)} {why}. Use for example 1.0, 1.0rc1 or 1.0+local.",
        code="invalid_version",
    )


@lru_cache(1024)  # projects have many versions in common, and several pages show a version
def listed_version(version: str) -> Version:
    """Return the parsed version of a listed file."""
    return Version(version)


def parse_version_set(text: str) -> SpecifierSet:
    """
    Return a set of versions by PEP 440, such as `<2` or `>=1.0,!=1.5`.

    Raises Invalid (code `invalid_version`) if the text is malformed, too long or empty, or compares
    texts (`===`).
    """
    if text.isascii() and text.isprintable() and len(text) <= VERSION_SET_LIMIT:
        has_empty_clause = not all(clause.strip() for clause in text.split(","))
        is_refused = has_empty_clause or "===" in text or _LONG_DIGIT_RUN.search(text)
        with suppress(InvalidSpecifier, ValueError):
            if not is_refused:
                return SpecifierSet(text)
    raise Invalid(
        f"{quoted(text)} is not a set of versions by PEP 440. Use for example <2, ==1.* or "
        ">=1.0,!=1.5, in quotes.",
        code="invalid_version",
    )


def strip_trailing_zeros(version: str) -> str:
    """
    Return a normalised version without trailing zeros of its release segment: 1 for 1.0.0.

    The result is that of `packaging.utils.canonicalize_version`, which parses the version and takes
    too long for all files of a project.
    """
    # most versions have no `.0`, which takes an expression ten times as long to see
    if ".0" in version:
        return _TRAILING_ZEROS.sub(r"\1", version)
    return version


def file_url(name: NormalizedName, sha256: str, filename: str) -> str:
    """
    Return the path of a file below the folder of files: `<project>/<sha256>/<filename>`.

    The path has no digest if `sha256` is empty, which means that the digest is not known.
    """
    # few filenames have such characters, and `quote` takes longer than the search
    if _UNSAFE_IN_URL.search(filename):
        filename = quote(filename, safe="")
    if sha256:
        return f"{name}/{sha256}/{filename}"
    return f"{name}/{filename}"


def variants_filename(project: NormalizedName, version: str) -> str:
    """Return the name of the document about the wheels with a label of a release (PEP 825)."""
    return f"{project.replace('-', '_')}-{version}{VARIANTS_SUFFIX}"


def release_of_variants(filename: str) -> str:
    """
    Return the version in the name of a document about wheels with a label.

    The version has no trailing zeros. The result is empty if the name has no valid version.
    """
    _, _, version = filename.removesuffix(VARIANTS_SUFFIX).partition("-")
    with suppress(Invalid):
        return strip_trailing_zeros(str(parse_version(version)))
    return ""


def filename_readings(
    filename: str, *, zip_sdists: bool = False, is_lenient: bool = False
) -> tuple[Distribution, ...]:
    """
    Return the readings of a filename, that with the shortest project name first.

    Accepted formats are wheels and `.tar.gz` sdists, with `zip_sdists` also `.zip` sdists, which
    are obsolete since PEP 625. With `is_lenient`, all sdists of `LENIENT_SUFFIXES` are accepted,
    and wheels with odd tags.

    Raises Invalid if the filename is not that of a distribution in an accepted format (code
    `invalid_filename`), or its version is malformed (code `invalid_version`).
    """
    return _readings(filename, None, zip_sdists=zip_sdists, is_lenient=is_lenient)


def _readings(
    filename: str, project: NormalizedName | None, *, zip_sdists: bool, is_lenient: bool
) -> tuple[Distribution, ...]:
    """Return the readings of a filename, for an sdist only that of `project` if there is one."""
    # a stranger's text is checked before any expression, and packaging, read it
    _require_characters(filename)
    if filename.endswith(".whl"):
        return (_parse_wheel(filename, is_lenient=is_lenient),)
    suffixes: tuple[str, ...] = (SDIST_SUFFIX,)
    if is_lenient:
        suffixes = LENIENT_SUFFIXES
    elif zip_sdists:
        suffixes = (SDIST_SUFFIX, ZIP_SUFFIX)
    if filename.endswith(suffixes):
        return _sdist_readings(filename, project)
    if filename.endswith(VARIANTS_SUFFIX):
        raise Invalid(
            f"The index makes {quoted(filename)} itself, from the wheels with a label of the "
            "release. Upload those, and leave this file out.",
            code="invalid_filename",
        )
    raise Invalid(
        f"Only .whl and .tar.gz are accepted, and {quoted(filename)} is neither. "
        "Build a wheel and an sdist with 'python -m build'.",
        code="invalid_filename",
    )


def known_filename_readings(filename: str) -> tuple[KnownDistribution, ...]:
    """
    Return the readings of a filename in any format that a store may have.

    The reading with the shortest project name comes first. Raises Invalid (codes
    `invalid_filename`, `invalid_version`) if the filename is not that of a distribution.
    """
    return _known_readings(filename, None)


def _known_readings(filename: str, project: NormalizedName | None) -> tuple[KnownDistribution, ...]:
    """Return the readings as `known_filename_readings`, with the choice that `_readings` makes."""
    _require_characters(filename)
    if filename.endswith(SDIST_SUFFIXES):
        return _sdist_readings(filename, project)
    if filename.endswith(tuple(_PACKAGETYPE_OF_OBSOLETE)):
        return _obsolete_readings(filename, project)
    return _readings(filename, project, zip_sdists=True, is_lenient=True)


def parse_filename(
    filename: str,
    project: NormalizedName | None = None,
    *,
    zip_sdists: bool = False,
    is_lenient: bool = False,
) -> Distribution:
    """
    Return the distribution that `filename` names, a distribution of `project` if that is known.

    The accepted formats are those of `filename_readings`. Raises Invalid with one of these codes:

    - `invalid_filename` if the filename is not that of a distribution in an accepted format, or of
      a file of another project, or if the version of an sdist of `project` is malformed,
    - `invalid_version` if any other version is malformed,
    - `ambiguous_filename` if the project is not known, and several hyphens may begin the version.
    """
    readings = _readings(filename, project, zip_sdists=zip_sdists, is_lenient=is_lenient)
    return _only_reading(readings, filename, project)


def parse_known_filename(filename: str, project: NormalizedName | None = None) -> KnownDistribution:
    """
    Return the distribution that `filename` names, in any format that a store may have.

    Raises Invalid (codes `invalid_filename`, `invalid_version`) if the filename is not that of a
    distribution, or of a file of another project. Raises Invalid (code `ambiguous_filename`) if
    `project` is None, and several hyphens may begin the version.
    """
    return _only_reading(_known_readings(filename, project), filename, project)


def reading_of(readings: Iterable[KnownT], project: NormalizedName) -> KnownT | None:
    """Return the reading for a project, or None if no reading is for this project."""
    return next((reading for reading in readings if reading.project == project), None)


def _only_reading(
    readings: tuple[KnownT, ...], filename: str, project: NormalizedName | None
) -> KnownT:
    """Return the reading for a project, or the only reading if the project is not known."""
    if project is None:
        if len(readings) > 1:
            raise ambiguous_filename(filename, readings)
        return readings[0]
    reading = reading_of(readings, project)
    if reading is None:
        raise _invalid_filename(
            filename, f"no hyphen has {project} before it and a version behind it"
        )
    return reading


def ambiguous_filename(filename: str, readings: Iterable[KnownDistribution]) -> Invalid:
    """Return the error for a filename of which nothing says where its version begins."""
    descriptions = [f"version {reading.version} of {reading.project}" for reading in readings]
    return Invalid(
        f"{quoted(filename)} may be {' or '.join(descriptions)}, and nothing says "
        "which. Build it again with a current build tool: then its PKG-INFO says it.",
        code="ambiguous_filename",
    )


def _require_characters(filename: str) -> None:
    """Raise Invalid for a filename that is too long, or has characters of no distribution."""
    if not filename.isascii() or _FORBIDDEN_CHARACTERS.search(filename):
        raise _invalid_filename(filename, "it has characters that no distribution's name has")
    if len(filename) > FILENAME_LIMIT:
        raise _invalid_filename(filename, f"it is longer than {FILENAME_LIMIT} bytes")


def _parse_wheel(filename: str, *, is_lenient: bool) -> Wheel:
    """Return the wheel that a filename names, or raise Invalid."""
    match = _WHEEL.fullmatch(filename)
    if match is None:
        form = "name-version[-build]-python-abi-platform[-label].whl"
        raise _invalid_filename(filename, f"a wheel is {form}")
    tag_sets = match["tags"].split("-")

    # counted before packaging makes all combinations of the tags
    combinations = prod(tag_set.count(".") + 1 for tag_set in tag_sets)
    if combinations > TAG_LIMIT:
        raise _invalid_filename(filename, f"it names more than {TAG_LIMIT} tags")
    tag_words = re.split("[-.]", match["tags"].lower())
    label = match["label"] or ""

    # `demo-1.0-py3-none-any.tar.whl` is one type of archive under the name of another type
    last_part = label or tag_sets[-1]
    has_odd_tags = not _NO_TAG_WORDS.isdisjoint(tag_words)
    if last_part.endswith(_ARCHIVE_EXTENSIONS) or (has_odd_tags and not is_lenient):
        raise _invalid_filename(filename, "it has two extensions")
    version = parse_version(match["version"])
    try:
        # packaging knows no labels yet
        project, _, build, tags = parse_wheel_filename(without_label(filename))
    except (InvalidWheelFilename, InvalidVersion, ValueError) as error:
        raise _invalid_filename(filename, str(error)) from error
    _require_project_name(match["name"], filename)

    # packaging divides a build tag into a number and a text, by which installers order wheels
    build_tag = "".join(map(str, build))
    sorted_tags = tuple(sorted(map(str, tags)))
    return Wheel(filename, project, version, build_tag, sorted_tags, label)


def _sdist_readings(filename: str, wanted: NormalizedName | None) -> tuple[Sdist, ...]:
    """Return the readings of the filename of an sdist, as `_split_stem` does, or raise Invalid."""
    match = _SDIST.fullmatch(filename)
    if match is None:
        raise _invalid_filename(filename, "an sdist is name-version.tar.gz")
    if match["stem"].endswith(_ARCHIVE_EXTENSIONS):
        raise _invalid_filename(filename, "it has two extensions")
    pairs = _split_stem(match["stem"], filename, wanted)
    return tuple(Sdist(filename, project, version) for project, version in pairs)


def _obsolete_readings(
    filename: str, wanted: NormalizedName | None
) -> tuple[ObsoleteDistribution, ...]:
    """Return the readings of the filename of an egg or an installer, or raise Invalid."""
    if filename.endswith(".egg"):
        match = _EGG.fullmatch(filename)
        if match is None:
            raise _invalid_filename(filename, "one of that kind is name-version-pyX.Y.egg")
        _require_project_name(match["name"], filename)
        # setuptools replaced `-` by `_` in the version of an egg
        version = parse_version(match["version"].replace("_", "-"))
        pairs = [(canonicalize_name(match["name"]), version)]
    else:
        match = _INSTALLER.fullmatch(filename)
        if match is None:
            form = "name-version.platform-pyX.Y.exe or .msi"
            raise _invalid_filename(filename, f"one of that kind is {form}")
        pairs = _split_stem(match["stem"], filename, wanted)
    readings = list[ObsoleteDistribution]()
    for project, version in pairs:
        reading = ObsoleteDistribution(
            filename=filename,
            project=project,
            version=version,
            packagetype=_PACKAGETYPE_OF_OBSOLETE[filename[-4:]],
            python_version=match["python"] or "any",
            platform=match["platform"] or "",
        )
        readings.append(reading)
    return tuple(readings)


def _split_stem(
    stem: str, filename: str, wanted: NormalizedName | None
) -> list[tuple[NormalizedName, Version]]:
    """
    Return each project and version that a hyphen of `name-version` divides, shortest name first.

    With `wanted`, return only the pair of this project, or nothing if there is none. Without
    `wanted`, raises Invalid if no hyphen divides a project from a version.
    """
    pairs = list[tuple[NormalizedName, Version]]()

    # a local version, behind the plus, may have hyphens that do not end the project name
    before_local, _, _ = stem.partition("+")
    hyphens = list(_HYPHEN.finditer(before_local))
    for hyphen in hyphens[-_VERSION_HYPHENS:]:
        name = stem[: hyphen.start()]
        version = stem[hyphen.end() :]
        if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
            continue
        project = canonicalize_name(name)
        if wanted in (None, project):
            with suppress(Invalid):
                pairs.append((project, parse_version(version)))

    # the error is about the name and the version as a person would divide them
    if not pairs and wanted is None:
        name, last_hyphen, version = stem.rpartition("-")
        if not last_hyphen:
            raise _invalid_filename(filename, "no hyphen divides its name from its version")
        parse_version(version)
        _require_project_name(name, filename)
    return pairs


def _require_project_name(name: str, filename: str) -> None:
    """Raise Invalid unless the part before the version can be the name of a project."""
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise _invalid_filename(filename, "the part before the version is not a project name")


def _invalid_filename(filename: str, why: str) -> Invalid:
    """Return the error (code `invalid_filename`) for a filename that is not a distribution's."""
    return Invalid(
        f"{quoted(filename)} is not a distribution's filename: {why}. "
        "Upload the file as the build tool named it.",
        code="invalid_filename",
    )


def is_name_of(text: str, distribution: Distribution) -> bool:
    """Return whether a text is the distribution's project name, in any spelling."""
    with suppress(Invalid):
        return parse_name(text) == distribution.project
    return False


def is_version_of(text: str, distribution: Distribution) -> bool:
    """Return whether a text is the distribution's version, in any spelling: 1.0 for 1.0.0."""
    with suppress(Invalid):
        return parse_version(text) == distribution.version
    return False


def is_stem_of(text: str, distribution: Distribution) -> bool:
    """
    Return whether a text is the distribution's `name-version`, in any spelling.

    The version may have a hyphen only in an sdist: installers divide the name of a folder of a
    wheel at the last hyphen.
    """
    positions = [hyphen.start() for hyphen in re.finditer("-", text)]
    if isinstance(distribution, Wheel):
        positions = positions[-1:]
    for position in positions:
        has_name = is_name_of(text[:position], distribution)
        if has_name and is_version_of(text[position + 1 :], distribution):
            return True
    return False
