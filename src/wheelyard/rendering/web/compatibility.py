"""
What a distribution is for, in words: the interpreter, ABI and platform tags of its filename.

The words follow the platform compatibility tags specification, and the tags that `packaging.tags`
yields. An unknown tag is shown as it is. All texts are made of the characters of filenames and of
words of this module, so that nothing in them needs to be escaped in HTML.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.model.distribution_filename import (
    SDIST_SUFFIXES,
    known_filename_readings,
    label_of,
    without_label,
)

Version = tuple[int, ...]

INTERPRETERS: Final = {
    "py": "Python",
    "cp": "CPython",
    "pp": "PyPy",
    "ip": "IronPython",
    "jy": "Jython",
    "graalpy": "GraalPy",
    "rp": "RustPython",
}
ARCHITECTURES: Final = {
    "x86_64": "x86-64",
    "amd64": "x86-64",
    "i686": "32-bit x86",
    "i586": "32-bit x86",
    "i386": "32-bit x86",
    "x86": "32-bit x86",
    "aarch64": "ARM64",
    "arm64": "ARM64",
    "arm64_v8a": "ARM64",
    "armv8l": "32-bit ARMv8",
    "armv7l": "ARMv7",
    "armeabi_v7a": "ARMv7",
    "armv6l": "ARMv6",
    "arm32": "32-bit ARM",
    "ppc64le": "POWER (little-endian)",
    "ppc64": "POWER",
    "s390x": "IBM Z",
    "riscv64": "RISC-V",
    "loongarch64": "LoongArch",
    "ia64": "Itanium",
}
_APPLE_ARCHITECTURES: Final = {
    "x86_64": "Intel",
    "arm64": "Apple silicon",
    "i386": "32-bit Intel",
    "ppc": "PowerPC",
    "ppc64": "64-bit PowerPC",
}
_APPLE_FORMATS: Final = {
    "universal2": ("x86_64", "arm64"),
    "universal": ("x86_64", "i386", "ppc", "ppc64"),
    "intel": ("x86_64", "i386"),
    "fat": ("i386", "ppc"),
    "fat32": ("i386", "ppc"),
    "fat3": ("x86_64", "i386", "ppc"),
    "fat64": ("x86_64", "ppc64"),
}
"""The architectures of each tag of macOS that stands for several."""
_OLD_MANYLINUX_GLIBC: Final = {
    "manylinux1": (2, 5),
    "manylinux2010": (2, 12),
    "manylinux2014": (2, 17),
}
"""The lowest version of glibc that each tag from before PEP 600 stands for."""

_VERSION: Final = "(?P<version>[0-9]{1,9}_[0-9]{1,9})"
_THREE_NUMBERS: Final = "(?P<version>[0-9]{1,9}(?:_[0-9]{1,9}){2})"
_ARCHITECTURE: Final = "(?P<architecture>[a-z0-9_]+)"
_SYSTEMS: Final = {
    "Linux": (
        rf"(?:manylinux_{_VERSION}|manylinux(?:1|2010|2014)|linux)_{_ARCHITECTURE}",
        "{system} {architectures} (glibc {version} or newer)",
    ),
    "Linux with musl": (
        rf"musllinux_{_VERSION}_{_ARCHITECTURE}",
        "Linux {architectures} (musl {version} or newer)",
    ),
    "macOS": (
        rf"macosx_{_VERSION}_{_ARCHITECTURE}",
        "{system} {version} or newer, {architectures}",
    ),
    "Windows": (rf"win(?:_{_ARCHITECTURE}|32)", "{system} {architectures}"),
    "iOS": (
        rf"ios_{_VERSION}_{_ARCHITECTURE}_iphoneos",
        "{system} {version} or newer, {architectures}",
    ),
    "iOS simulator": (
        rf"ios_{_VERSION}_{_ARCHITECTURE}_iphonesimulator",
        "{system} {version} or newer, {architectures}",
    ),
    "Android": (
        rf"android_(?P<version>[0-9]{{1,9}})_{_ARCHITECTURE}",
        "{system} {architectures} (API level {version} or newer)",
    ),
    "Pyodide": (rf"(?:pyodide|pyemscripten)_{_VERSION}_wasm32", "{system} {version}, WebAssembly"),
    "Emscripten": (rf"emscripten_{_THREE_NUMBERS}_wasm32", "{system} {version}, WebAssembly"),
    "WASI": (rf"wasi_{_THREE_NUMBERS}_wasm32", "{system} {version}, WebAssembly"),
}
"""For each system: its platform tags, and the words for them."""
_PATTERN_BY_SYSTEM: Final = {
    system: re.compile(tags, re.ASCII) for system, (tags, _) in _SYSTEMS.items()
}

_RANK_BY_INTERPRETER: Final = {"py": 0, "cp": 1}
"""The rank of wheels in a list, by their interpreter: wheels for any Python come first."""
_OTHER_INTERPRETERS_RANK: Final = 2
"""The rank of wheels for all other interpreters."""
_OBSOLETE_FORMATS_RANK: Final = 8
"""The rank of eggs and installers, which is behind all wheels."""
_SDIST_RANK: Final = 9
"""The rank of sdists."""

_NUMBER: Final = re.compile("[0-9]+")
_INTERPRETER: Final = re.compile(r"([a-z]+)([0-9]?)([0-9]*)", re.ASCII)
_PYTHON_3: Final = re.compile(r"py3[0-9]+", re.ASCII)
_CPYTHON_ABI: Final = re.compile(r"cp[0-9]+([a-z]*)", re.ASCII)
_BUILDS_BY_LETTER: Final = {"t": "free-threaded", "d": "debug build", "u": "wide Unicode"}
"""What each letter behind the version in an ABI tag of CPython means, but for the usual `m`."""
_MINOR_DIGITS: Final = 3
"""The most digits of a minor version: a longer number is no version."""
_SORTED_DIGITS: Final = 4
"""Digits to which numbers in tags are padded, so that a text with 2 sorts before one with 10."""
_FIRST_WHOLE_MACOS: Final = 11
"""The first version of macOS that people call by one number: 11, and not 11.0."""


class Facet(NamedTuple):
    """A property by which people can select files."""

    path: str
    """The value of the facet in a form and in a URL."""
    label: str


class _Platform(NamedTuple):
    """A system and an architecture that a platform tag names."""

    system: str
    """The name of the system, or an empty text for an unknown tag."""
    architecture: str
    """The architecture in words, or an unknown tag as it is."""
    version: Version
    """The lowest version of the system, or empty if the tag names no version."""


_STABLE_ABI: Final = Facet("stable-abi", "Stable ABI of CPython")


class Compatibility(Struct, frozen=True):
    """The interpreters and platforms that a distribution is for."""

    kind: str
    """`wheel`, `sdist`, `egg` or `installer`."""
    text: str
    """The interpreters and platforms in words."""
    interpreters: tuple[Facet, ...]
    platforms: tuple[Facet, ...]
    order: tuple[int, int, str]
    """A sort key: wheels for any Python, other wheels by version with the newest first, sdists."""


def compatibility_of(filename: str) -> Compatibility:
    """Return what a distribution is for, by its filename, which is valid."""
    if filename.endswith(SDIST_SUFFIXES):
        return Compatibility("sdist", "source code", (), (), (_SDIST_RANK, 0, ""))
    if not filename.endswith(".whl"):
        return _obsolete_compatibility(filename)
    if label_of(filename):
        return _labelled_compatibility(filename)
    return _wheel_compatibility(_wheel_tags(filename))


def _labelled_compatibility(filename: str) -> Compatibility:
    """Return what a wheel variant (PEP 825) is for; it sorts behind the wheel without a label."""
    tags = _wheel_tags(without_label(filename))
    wheel = _wheel_compatibility(tags)
    label = label_of(filename)
    rank, version, sorted_tags = wheel.order
    order = (rank, version, f"{sorted_tags}-{label}")
    return replace(wheel, text=f"{wheel.text}, variant {label}", order=order)


def _wheel_tags(filename: str) -> str:
    """Return the three tags of a wheel in lower case, for interpreters, ABIs and platforms."""
    parts = filename.removesuffix(".whl").lower().split("-")
    # the last three parts, as a build number may stand before them
    return "-".join(parts[-3:])


@lru_cache(4096)  # many files have the same tags
def _wheel_compatibility(tags: str) -> Compatibility:
    """Return what a wheel is for, by its three tags, each of which may be several with dots."""
    pythons, abis, platforms = (tag.split(".") for tag in tags.split("-"))
    text = _describe_interpreters(pythons, abis)
    platforms_text = "; ".join(_describe_platforms(platforms))
    if platforms_text:
        text += f", {platforms_text}"
    platform_facets = tuple(dict.fromkeys(map(_platform_facet, platforms)))
    name, major, minor = _split_interpreter(pythons[0])
    rank = _RANK_BY_INTERPRETER.get(name, _OTHER_INTERPRETERS_RANK)
    sorted_tags = _NUMBER.sub(_pad_number, tags)
    # the newest version first; a minor version is less than 1000
    order = (rank, -1000 * major - minor, sorted_tags)
    interpreter_facets = _interpreter_facets(pythons, abis)
    return Compatibility("wheel", text, interpreter_facets, platform_facets, order)


def _pad_number(number: re.Match[str]) -> str:
    """Return a number with zeros before it, so that `2_5` sorts before `2_10`."""
    return number[0].zfill(_SORTED_DIGITS)


def _obsolete_compatibility(filename: str) -> Compatibility:
    """Return what an egg or an installer is for."""
    # all readings of such a filename have the same version of Python and the same platform
    distribution, *_ = known_filename_readings(filename)
    kind = "egg" if filename.endswith(".egg") else "installer"
    text = "any Python"
    if distribution.python_version != "any":
        text = f"Python {distribution.python_version}"
    # some of these formats have no platform
    platform = getattr(distribution, "platform", "")
    if platform:
        text += f", {platform}"
    return Compatibility(kind, text, (), (), (_OBSOLETE_FORMATS_RANK, 0, filename))


# --- interpreters ---------------------------------------------------------------------------------


def _describe_interpreters(pythons: list[str], abis: list[str]) -> str:
    """Return in words which interpreters, and which builds of them, a wheel is for."""
    fits_newer = _has_stable_abi(abis) or all(map(_PYTHON_3.fullmatch, pythons))
    if set(pythons) == {"py2", "py3"}:
        words = "any Python"
    elif fits_newer:
        oldest = min(pythons, key=_split_interpreter)
        words = f"{_describe_interpreter(oldest)} or newer"
    else:
        distinct_texts = dict.fromkeys(map(_describe_interpreter, pythons))
        words = " or ".join(distinct_texts)
    # a dict drops repeated texts, and keeps the order
    builds = dict.fromkeys(_describe_build(abi, pythons) for abi in abis)
    if set(builds) == {""}:
        return words
    named_builds = " or ".join(build or "usual build" for build in builds)
    return f"{words} ({named_builds})"


def _has_stable_abi(abis: Iterable[str]) -> bool:
    """Return whether a wheel uses the stable ABI, and so also runs on later versions of Python."""
    return any(abi.startswith("abi3") for abi in abis)


def _describe_interpreter(tag: str) -> str:
    """Return an interpreter tag in words: `cp312` as `CPython 3.12`."""
    name, major, _ = _split_interpreter(tag)
    if name not in INTERPRETERS:
        return tag
    # behind the name stands the major version, which has one digit
    minor = tag[len(name) + 1 :]
    if minor:
        return f"{INTERPRETERS[name]} {major}.{minor}"
    if tag == name:
        return f"any {INTERPRETERS[name]}"
    return f"any {INTERPRETERS[name]} {major}"


def _split_interpreter(tag: str) -> tuple[str, int, int]:
    """
    Return name, major and minor version of an interpreter tag: `cp312` is CPython 3.12.

    A missing version is 0. An unknown tag gives `("", 0, 0)`.
    """
    match = _INTERPRETER.fullmatch(tag)
    if match is None or len(match[3]) > _MINOR_DIGITS:
        return "", 0, 0
    name, major, minor = match.groups()
    return name, int(major or 0), int(minor or 0)


def _describe_build(abi: str, pythons: list[str]) -> str:
    """Return in words what an ABI tag says that the interpreter tags do not say."""
    if abi in {"none", "abi3"} or abi.startswith(("pypy", "graalpy")):
        return ""
    if abi == "abi3t":
        return _BUILDS_BY_LETTER["t"]
    match = _CPYTHON_ABI.fullmatch(abi)
    if match is None:
        return f"ABI {abi}"
    letters = match[1]
    if not set(letters) <= {*_BUILDS_BY_LETTER, "m"}:
        return f"ABI {abi}"
    words = [_BUILDS_BY_LETTER[letter] for letter in letters if letter in _BUILDS_BY_LETTER]
    interpreter = abi.removesuffix(letters)
    if interpreter not in pythons:
        words.insert(0, f"ABI {interpreter}")
    return ", ".join(words)


def _interpreter_facets(pythons: list[str], abis: list[str]) -> tuple[Facet, ...]:
    """Return the facets of a wheel's interpreter tags, or that of the stable ABI alone."""
    if _has_stable_abi(abis):
        # whatever version the tag has, the wheel is for all later versions as well
        return (_STABLE_ABI,)
    facets: list[Facet] = []
    for tag in pythons:
        words = _describe_interpreter(tag)
        first_letter = words[0].upper()
        facets.append(Facet(tag, f"{first_letter}{words[1:]}"))
    return tuple(facets)


# --- platforms ------------------------------------------------------------------------------------


def _describe_platforms(tags: Iterable[str]) -> Iterator[str]:
    """Yield the platforms of a wheel in words, each text once. `any` gives no text."""
    lowest_versions: dict[tuple[str, str], Version] = {}
    for tag in tags:
        for platform in _platforms(tag):
            key = platform.system, platform.architecture
            # installers take a wheel from the lowest version on, whatever other tags it has
            earlier_lowest = lowest_versions.get(key, platform.version)
            lowest_versions[key] = min(platform.version, earlier_lowest)
    architectures_by_text: dict[tuple[str, Version, str], list[str]] = {}
    for (system, architecture), version in lowest_versions.items():
        text_key = (system, version, architecture)
        if system in {"macOS", "Windows"}:
            # one text has all architectures, as of a universal wheel
            text_key = (system, version, "")
        architectures_by_text.setdefault(text_key, []).append(architecture)
    for (system, version, _), architectures in architectures_by_text.items():
        yield _describe_platform(system, version, " and ".join(architectures))


def _describe_platform(system: str, version: Version, architectures: str) -> str:
    """Return a platform in words. For an unknown tag, `architectures` is the tag itself."""
    if not system:
        return architectures
    if system == "Linux" and not version:
        return f"Linux {architectures}"
    is_macos = system == "macOS"
    if is_macos and version[0] >= _FIRST_WHOLE_MACOS and not version[1]:
        version = version[:1]
    version_text = ".".join(map(str, version))
    _, template = _SYSTEMS[system]
    return template.format(system=system, version=version_text, architectures=architectures)


def _platforms(tag: str) -> Iterator[_Platform]:
    """Yield the platforms of a platform tag, one for each architecture."""
    if tag == "any":
        return
    system, match = _match_system(tag)
    if match is None:
        yield _Platform("", tag, ())
        return
    parts = match.groupdict()
    # `win32` alone names no architecture
    architecture = parts.get("architecture") or "x86"
    version: Version = ()
    if parts.get("version"):
        version = tuple(map(int, parts["version"].split("_")))
    first_part, _, _ = tag.partition("_")
    version = _OLD_MANYLINUX_GLIBC.get(first_part, version)
    if system != "macOS":
        yield _Platform(system, ARCHITECTURES.get(architecture, architecture), version)
        return
    for apple_name in _APPLE_FORMATS.get(architecture, (architecture,)):
        yield _Platform(system, _APPLE_ARCHITECTURES.get(apple_name, apple_name), version)


def _match_system(tag: str) -> tuple[str, re.Match[str] | None]:
    """
    Return the system of a platform tag, and the match of the system's pattern.

    For an unknown tag, return an empty text and None.
    """
    for system, pattern in _PATTERN_BY_SYSTEM.items():
        match = pattern.fullmatch(tag)
        if match is not None:
            return system, match
    return "", None


def _platform_facet(tag: str) -> Facet:
    """Return the facet of a platform tag, which is its system without version or architecture."""
    if tag == "any":
        return Facet("on-any", "Any platform")
    system, _ = _match_system(tag)
    if not system:
        return Facet("on-other", "Other platforms")
    return Facet(f"on-{system.lower().replace(' ', '-')}", system)
