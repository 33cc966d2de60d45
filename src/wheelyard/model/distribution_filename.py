"""
Parsers for filenames of distributions, for project names and for versions, and URLs with them.

Uploads accept wheels and `.tar.gz` sdists, `.zip` sdists, too, if the operator allows them, and in
lenient imports. The other formats (further sdists, eggs, installers of distutils) are only those of
files that a store has from before.

The order of the checks matters (ASCII, bytes, length, our grammar, then packaging): packaging alone
accepts newlines, path separators and look-alike letters, and takes seconds for a filename with
thousands of tags. Follows the binary distribution format and source distribution format
specifications, PEP 440, PEP 625, and for wheels with a label PEP 825, a draft.

An old build tool wrote a version with a hyphen into the name of an sdist as it was, so that
`demo-1.0-1.tar.gz` is version 1.0-1 of demo, or version 1 of demo-1.0. So a filename has a reading
for each hyphen that has a project name before it and a version behind it. Clients know the project,
and take the reading that is of it, as this module does for whoever knows it. Nobody guesses.
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
"""Bytes: `.metadata` and a temporary suffix must still fit into 255."""
NAME_LIMIT = 128
"""Characters of a project name."""
VERSION_LIMIT = 128
"""Characters of a version."""
VERSION_SET_LIMIT = 256
"""Characters of a set of versions."""
DIGIT_RUN_LIMIT = 64
"""Digits in a row, in a version."""
TAG_LIMIT = 1000
"""Combinations of compressed wheel tags."""
LABEL_LIMIT = 64
"""Characters of the label of a wheel variant."""
VARIANTS_SUFFIX = "-variants.json"
"""Ends the name of the document about all wheel variants of a release."""

RESERVED_NAMES = frozenset({"simple", "pypi", "legacy", "namespaces", "namespace"})
"""Names that no new project gets, because its path would be that of something else."""

_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", re.ASCII)
_PART = r"[A-Za-z0-9_.+!]+"
_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)
_WHEEL = re.compile(
    rf"(?P<name>{_PART})-(?P<version>{_PART})(-[0-9][A-Za-z0-9_.]*)?"
    rf"-(?P<tags>{_PART}-{_PART}-{_PART})"
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
"""What an index takes that keeps files of old formats, for messages."""
SDIST_SUFFIXES = (*LENIENT_SUFFIXES, ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar")
"""Suffixes of sdists, also of those that only an older version has taken."""

_SDIST = re.compile(
    rf"(?P<stem>[A-Za-z0-9_.+!-]+?)(?:{'|'.join(map(re.escape, SDIST_SUFFIXES))})", re.ASCII
)
_HYPHEN = re.compile("-(?=[vV]?[0-9])")
"""A hyphen that may have a version behind it."""
_VERSION_HYPHENS = 4
"""The hyphen before a version, and those before the numbers of its `a`, `post` and `dev`."""
_EGG = re.compile(
    rf"(?P<name>{_PART})-(?P<version>{_PART})"
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
_DIGITS = re.compile(rf"[0-9]{{{DIGIT_RUN_LIMIT + 1}}}")
_TRAILING_ZEROS = re.compile(r"\A((?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*?)(?:\.0)+(?=\Z|[abr+]|\.[pd])")
_EXTENSIONS = (".whl", ".gz", ".zip", ".egg", ".tar")
_NO_TAGS = frozenset(extension[1:] for extension in _EXTENSIONS)
"""Words that are not allowed as wheel tags, because they are file extensions."""
_OBSOLETE = {".egg": "bdist_egg", ".exe": "bdist_wininst", ".msi": "bdist_msi"}
"""Obsolete binary formats, by suffix."""
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f/\\%:]")

UniquenessKey = tuple[str, ...]
"""Two filenames with one key differ only in spelling, or are sdists in two formats."""

KnownT = TypeVar("KnownT", bound="KnownDistribution")


class Sdist(Struct, frozen=True):
    """The parsed filename of an sdist."""

    packagetype: ClassVar[str] = "sdist"
    """What PyPI calls this kind."""
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
        """The suffix of the filename, which names the archive format, such as `.tar.gz`."""
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
        """
        A tuple of kind, version, build tag, label and tags.

        It is unique except for the spelling.
        """
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
    """What PyPI calls this kind: bdist_egg, bdist_wininst or bdist_msi."""
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
    """Return the label in the name of a wheel, or an empty text if it has none, or is no wheel."""
    # most names have too few hyphens, and an expression takes ten times as long to say so
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

    Raises Invalid (code `invalid_name`) if it is malformed.
    """
    if len(text) <= NAME_LIMIT and _NAME.fullmatch(text):
        return canonicalize_name(text)
    raise Invalid(
        f"{quoted(text)} is not a project name. Use up to {NAME_LIMIT} letters, digits, '.', '_' "
        "and '-', with a letter or a digit at both ends.",
        code="invalid_name",
    )


@lru_cache(256)  # filename, form and metadata of an upload have the same one
def parse_sha256(text: str) -> Sha256:
    """
    Return a SHA-256 with lower-case digits.

    Raises Invalid (code `invalid_field`) if the text is none.
    """
    digest = text.lower()
    if not _SHA256.fullmatch(digest):
        message = f"{quoted(text)} is no SHA-256. Write its 64 hexadecimal digits."
        raise Invalid(message, code="invalid_field")
    return Sha256(digest)


def parse_version(text: str) -> Version:
    """
    Return the PEP 440 version in `text`.

    Raises Invalid (code `invalid_version`) if it is malformed or too long.
    """
    if text.isascii() and len(text) <= VERSION_LIMIT and not _DIGITS.search(text):
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


@lru_cache(1024)  # projects have many versions in common, and several pages show each
def listed_version(version: str) -> Version:
    """Return the parsed version of a listed file."""
    return Version(version)


def parse_version_set(text: str) -> SpecifierSet:
    """
    Return a set of versions by PEP 440, such as `<2` or `>=1.0,!=1.5`.

    Raises Invalid (code `invalid_version`) if it is malformed, too long or empty, or compares text
    (`===`).
    """
    if text.isascii() and text.isprintable() and len(text) <= VERSION_SET_LIMIT:
        is_whole = all(clause.strip() for clause in text.split(",")) and "===" not in text
        with suppress(InvalidSpecifier, ValueError):
            if is_whole and not _DIGITS.search(text):
                return SpecifierSet(text)
    raise Invalid(
        f"{quoted(text)} is not a set of versions by PEP 440. Use for example <2, ==1.* or "
        ">=1.0,!=1.5, in quotes.",
        code="invalid_version",
    )


def strip_trailing_zeros(version: str) -> str:
    """
    Return a normalised version without trailing zeros of its release segment: 1 for 1.0.0.

    Equal to `packaging.utils.canonicalize_version`, but without parsing, which takes too long for
    all files of a project.
    """
    # most versions have none, and an expression takes ten times as long to say so
    if ".0" in version:
        return _TRAILING_ZEROS.sub(r"\1", version)
    return version


def file_url(name: NormalizedName, sha256: str, filename: str) -> str:
    """
    Return the path of a file below the folder of files: `<project>/<sha256>/<filename>`.

    The path has no digest if `sha256` is empty, which means that it is not known.
    """
    if _UNSAFE_IN_URL.search(filename):  # cheaper than `quote`, and rare
        filename = quote(filename, safe="")
    if sha256:
        return f"{name}/{sha256}/{filename}"
    return f"{name}/{filename}"


def variants_filename(project: NormalizedName, version: str) -> str:
    """Return the name of the document about the wheels with a label of a release (PEP 825)."""
    return f"{project.replace('-', '_')}-{version}{VARIANTS_SUFFIX}"


def release_of_variants(filename: str) -> str:
    """
    Return the version in the name of a document about wheels with a label, or an empty text.

    It has no trailing zeros.
    """
    _, _, version = filename.removesuffix(VARIANTS_SUFFIX).partition("-")
    with suppress(Invalid):
        return strip_trailing_zeros(str(parse_version(version)))
    return ""


def filename_readings(
    filename: str, *, zip_sdists: bool = False, is_lenient: bool = False
) -> tuple[Distribution, ...]:
    """
    Return what `filename` may name: a wheel or a `.tar.gz` sdist, the shortest project name first.

    With `zip_sdists` also `.zip` sdists, obsolete since PEP 625. If `is_lenient`, those of
    `LENIENT_SUFFIXES`, and wheels with odd tags.

    Raises Invalid if it is not the name of a distribution in an accepted format (code
    `invalid_filename`), or its version is malformed (code `invalid_version`).
    """
    return _readings(filename, None, zip_sdists=zip_sdists, is_lenient=is_lenient)


def _readings(
    filename: str, project: NormalizedName | None, *, zip_sdists: bool, is_lenient: bool
) -> tuple[Distribution, ...]:
    """Return what a filename may name. Of an sdist that may be of `project` only that reading."""
    # a stranger's text: before any expression, and before packaging, gets to see it
    _check_text(filename)
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
    Return what `filename` may name, in any format that a store may have.

    The shortest project name comes first. Raises Invalid (codes `invalid_filename`,
    `invalid_version`) if it is no distribution.
    """
    return _known_readings(filename, None)


def _known_readings(filename: str, project: NormalizedName | None) -> tuple[KnownDistribution, ...]:
    """Return what a filename may name, in any format that a store may have."""
    _check_text(filename)
    if filename.endswith(SDIST_SUFFIXES):
        return _sdist_readings(filename, project)
    if filename.endswith(tuple(_OBSOLETE)):
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
    Return the distribution that `filename` names, of `project` if that is known.

    The formats are those of `filename_readings`. Raises Invalid (code `invalid_filename`) if it is
    not the name of a distribution in an accepted format, or of a file of another project. Raises
    Invalid (code `invalid_version`) if its version is malformed. For an sdist whose project is
    known, that has the code `invalid_filename`, too. Raises Invalid (code `ambiguous_filename`) if
    the project is not known, and several hyphens may begin the version.
    """
    readings = _readings(filename, project, zip_sdists=zip_sdists, is_lenient=is_lenient)
    return _only(readings, filename, project)


def parse_known_filename(filename: str, project: NormalizedName | None = None) -> KnownDistribution:
    """
    Return the distribution that `filename` names, in any format that a store may have.

    Raises Invalid if it is no distribution, or of another project (codes `invalid_filename`,
    `invalid_version`). Raises Invalid (code `ambiguous_filename`) if `project` is None, and several
    hyphens may begin its version.
    """
    return _only(_known_readings(filename, project), filename, project)


def reading_of(readings: Iterable[KnownT], project: NormalizedName) -> KnownT | None:
    """Return the reading of a filename that is of a project, or None if there is none."""
    return next((reading for reading in readings if reading.project == project), None)


def _only(readings: tuple[KnownT, ...], filename: str, project: NormalizedName | None) -> KnownT:
    """Return the reading that is of a project, or the only one if nobody knows the project."""
    if project is None:
        if len(readings) > 1:
            raise ambiguous_filename(filename, readings)
        return readings[0]
    reading = reading_of(readings, project)
    if reading is None:
        raise _bad_filename(filename, f"no hyphen has {project} before it and a version behind it")
    return reading


def ambiguous_filename(filename: str, readings: Iterable[KnownDistribution]) -> Invalid:
    """Return the error for a file of which nothing says where its version begins."""
    texts = [f"version {reading.version} of {reading.project}" for reading in readings]
    return Invalid(
        f"{quoted(filename)} may be {' or '.join(texts)}, and nothing says "
        "which. Build it again with a current build tool: then its PKG-INFO says it.",
        code="ambiguous_filename",
    )


def _check_text(filename: str) -> None:
    """Raise Invalid for a filename that is too long, or has characters of no distribution."""
    if not filename.isascii() or _FORBIDDEN.search(filename):
        raise _bad_filename(filename, "it has characters that no distribution's name has")
    if len(filename) > FILENAME_LIMIT:
        raise _bad_filename(filename, f"it is longer than {FILENAME_LIMIT} bytes")


def _parse_wheel(filename: str, *, is_lenient: bool) -> Wheel:
    """Return the wheel that a filename names, or raise Invalid."""
    match = _WHEEL.fullmatch(filename)
    if match is None:
        form = "name-version[-build]-python-abi-platform[-label].whl"
        raise _bad_filename(filename, f"a wheel is {form}")
    tag_sets = match["tags"].split("-")

    # packaging makes all combinations of the tags, so they are counted before
    if prod(tag_set.count(".") + 1 for tag_set in tag_sets) > TAG_LIMIT:
        raise _bad_filename(filename, f"it names more than {TAG_LIMIT} tags")
    words = re.split("[-.]", match["tags"].lower())
    label = match["label"] or ""

    # `demo-1.0-py3-none-any.tar.whl` is one type of archive under the name of another
    has_extension = (label or tag_sets[-1]).endswith(_EXTENSIONS)
    if has_extension or not (is_lenient or _NO_TAGS.isdisjoint(words)):
        raise _bad_filename(filename, "it has two extensions")
    version = parse_version(match["version"])
    try:
        # packaging knows no labels yet
        project, _, build, tags = parse_wheel_filename(without_label(filename))
    except (InvalidWheelFilename, InvalidVersion, ValueError) as error:
        raise _bad_filename(filename, str(error)) from error
    _check_project(match["name"], filename)

    # packaging gives a build tag as number and rest, by which installers order wheels
    spelled = "".join(map(str, build))
    all_tags = tuple(sorted(map(str, tags)))
    return Wheel(filename, project, version, spelled, all_tags, label)


def _sdist_readings(filename: str, of: NormalizedName | None) -> tuple[Sdist, ...]:
    match = _SDIST.fullmatch(filename)
    if match is None:
        raise _bad_filename(filename, "an sdist is name-version.tar.gz")
    if match["stem"].endswith(_EXTENSIONS):
        raise _bad_filename(filename, "it has two extensions")
    pairs = _split_stem(match["stem"], filename, of)
    return tuple(Sdist(filename, project, version) for project, version in pairs)


def _obsolete_readings(
    filename: str, of: NormalizedName | None
) -> tuple[ObsoleteDistribution, ...]:
    """Return what the filename of an egg or an installer may name, or raise Invalid."""
    is_egg = filename.endswith(".egg")
    form = "name-version.platform-pyX.Y.exe or .msi"
    expression = _INSTALLER
    if is_egg:
        form = "name-version-pyX.Y.egg"
        expression = _EGG
    match = expression.fullmatch(filename)
    if match is None:
        raise _bad_filename(filename, f"one of that kind is {form}")
    if is_egg:
        _check_project(match["name"], filename)
        # setuptools replaced `-` by `_` in the version of an egg
        version = parse_version(match["version"].replace("_", "-"))
        pairs = [(canonicalize_name(match["name"]), version)]
    else:
        pairs = _split_stem(match["stem"], filename, of)
    readings = list[ObsoleteDistribution]()
    for project, version in pairs:
        reading = ObsoleteDistribution(
            filename=filename,
            project=project,
            version=version,
            packagetype=_OBSOLETE[filename[-4:]],
            python_version=match["python"] or "any",
            platform=match["platform"] or "",
        )
        readings.append(reading)
    return tuple(readings)


def _split_stem(
    stem: str, filename: str, of: NormalizedName | None
) -> list[tuple[NormalizedName, Version]]:
    """
    Return each project and version that a hyphen of `name-version` divides, shortest name first.

    If `of` is given, only that of this project, if there is one. Else raises Invalid if there is no
    such hyphen.
    """
    pairs = list[tuple[NormalizedName, Version]]()

    # a local version has hyphens, too, and the project's name is never behind its plus
    before_local, _, _ = stem.partition("+")
    for hyphen in list(_HYPHEN.finditer(before_local))[-_VERSION_HYPHENS:]:
        name = stem[: hyphen.start()]
        version = stem[hyphen.end() :]
        if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
            continue
        project = canonicalize_name(name)
        if of in (None, project):
            with suppress(Invalid):
                pairs.append((project, parse_version(version)))

    # nothing fits: say what is wrong with the name and the version as a person would divide them
    if not pairs and of is None:
        name, hyphen_of_version, version = stem.rpartition("-")
        if not hyphen_of_version:
            raise _bad_filename(filename, "no hyphen divides its name from its version")
        parse_version(version)
        _check_project(name, filename)
    return pairs


def _check_project(name: str, filename: str) -> None:
    """Raise Invalid unless what stands before the version can be the name of a project."""
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise _bad_filename(filename, "the part before the version is not a project name")


def _bad_filename(filename: str, why: str) -> Invalid:
    """Return the error for a filename that is no distribution's."""
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

    The version has a hyphen only in sdists: installers divide the folder of a wheel at the last.
    """
    hyphens = [hyphen.start() for hyphen in re.finditer("-", text)]
    if isinstance(distribution, Wheel):
        hyphens = hyphens[-1:]
    for hyphen in hyphens:
        is_name = is_name_of(text[:hyphen], distribution)
        if is_name and is_version_of(text[hyphen + 1 :], distribution):
            return True
    return False
