"""
What a distribution is for, in words: the interpreter, ABI and platform tags of its filename.

Follows the platform compatibility tags specification, and what `packaging.tags` yields. A tag that
is not known is shown as it is. All texts are made of the characters of filenames and of our words.
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
_APPLE: Final = {
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
"""The architectures in each format of macOS that has several."""
_OLD_MANYLINUX: Final = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
"""The version of glibc of the names before PEP 600."""

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
_PATTERNS: Final = {system: re.compile(tags, re.ASCII) for system, (tags, _) in _SYSTEMS.items()}

_RANKS: Final = {"py": 0, "cp": 1}
"""Which wheels come first in a list, by their interpreter: those for any Python, and CPython's."""
_OTHER_INTERPRETERS: Final = 2
"""The rank of wheels for all other interpreters."""
_OBSOLETE_FORMATS: Final = 8
"""The rank of eggs and installers, which is behind all wheels."""
_SDISTS: Final = 9
"""The rank of sdists."""

_NUMBER: Final = re.compile("[0-9]+")
_INTERPRETER: Final = re.compile(r"([a-z]+)([0-9]?)([0-9]*)", re.ASCII)
_PYTHON_3: Final = re.compile(r"py3[0-9]+", re.ASCII)
_CPYTHON_ABI: Final = re.compile(r"cp[0-9]+([a-z]*)", re.ASCII)
_VARIANTS: Final = {"t": "free-threaded", "d": "debug build", "u": "wide Unicode"}
"""What the letters behind the version in an ABI tag of CPython mean, besides the usual `m`."""


class Facet(NamedTuple):
    """A property by which files can be selected."""

    path: str
    """Its value in a form and in a URL."""
    label: str


class _Platform(NamedTuple):
    """What a platform tag names."""

    system: str
    """Empty for a tag that is not known."""
    architecture: str
    """The tag itself if it is not known."""
    version: Version
    """The lowest version of the system, or nothing."""


_STABLE: Final = Facet("stable-abi", "Stable ABI of CPython")


class Compatibility(Struct, frozen=True):
    """What a distribution is for."""

    kind: str
    text: str
    interpreters: tuple[Facet, ...]
    platforms: tuple[Facet, ...]
    order: tuple[int, int, str]
    """A sort key: wheels for any Python, other wheels by version with the newest first, sdists."""


def compatibility_of(filename: str) -> Compatibility:
    """Return what the distribution of this name is for, which is the name of a listed file."""
    if filename.endswith(SDIST_SUFFIXES):
        return Compatibility("sdist", "source code", (), (), (_SDISTS, 0, ""))
    if not filename.endswith(".whl"):
        return _of_obsolete(filename)
    if label_of(filename):
        return _of_labelled(filename)
    return _of_wheel(_tags(filename))


def _of_labelled(filename: str) -> Compatibility:
    """Return what a wheel variant (PEP 825) is for, which follows the wheel without its label."""
    wheel = _of_wheel(_tags(without_label(filename)))
    label = label_of(filename)
    rank, version, natural = wheel.order
    order = (rank, version, f"{natural}-{label}")
    return replace(wheel, text=f"{wheel.text}, variant {label}", order=order)


def _tags(filename: str) -> str:
    """Return the three tags of a wheel: those of interpreters, ABIs and platforms."""
    # from the end: before them stands a build number, or not
    return "-".join(filename.removesuffix(".whl").lower().split("-")[-3:])


@lru_cache(4096)  # many files have the same tags
def _of_wheel(tags: str) -> Compatibility:
    """Return what a wheel is for, by its three tags, each of which may be several with dots."""
    pythons, abis, platforms = (tag.split(".") for tag in tags.split("-"))
    text = _describe_interpreters(pythons, abis)
    places = "; ".join(_describe_platforms(platforms))
    if places:
        text += f", {places}"
    families = tuple(dict.fromkeys(map(_family, platforms)))
    name, major, minor = _split_interpreter(pythons[0])
    rank = _RANKS.get(name, _OTHER_INTERPRETERS)
    natural = _NUMBER.sub(lambda number: number[0].zfill(4), tags)  # 2_5 before 2_10
    order = (rank, -1000 * major - minor, natural)
    return Compatibility("wheel", text, _interpreter_facets(pythons, abis), families, order)


def _of_obsolete(filename: str) -> Compatibility:
    distribution, *_ = known_filename_readings(filename)  # each reading says the same of these
    kind = "egg" if filename.endswith(".egg") else "installer"
    text = "any Python"
    if distribution.python_version != "any":
        text = f"Python {distribution.python_version}"
    # not every one of these formats has a platform
    platform = getattr(distribution, "platform", "")
    if platform:
        text += f", {platform}"
    return Compatibility(kind, text, (), (), (_OBSOLETE_FORMATS, 0, filename))


# --- interpreters ---------------------------------------------------------------------------------


def _describe_interpreters(pythons: list[str], abis: list[str]) -> str:
    """Return in words which interpreters, and which builds of them, a wheel is for."""
    is_stable = any(abi.startswith("abi3") for abi in abis)
    if set(pythons) == {"py2", "py3"}:
        words = "any Python"
    elif is_stable or all(map(_PYTHON_3.fullmatch, pythons)):
        # an interpreter takes what is for its own version, or for an older one
        words = f"{_describe_interpreter(min(pythons, key=_split_interpreter))} or newer"
    else:
        words = " or ".join(dict.fromkeys(map(_describe_interpreter, pythons)))
    builds = dict.fromkeys(_describe_build(abi, pythons) for abi in abis)
    if set(builds) == {""}:
        return words
    named_builds = " or ".join(build or "usual build" for build in builds)
    return f"{words} ({named_builds})"


def _describe_interpreter(tag: str) -> str:
    """Return an interpreter tag in words: `cp312` as `CPython 3.12`."""
    name, major, _ = _split_interpreter(tag)
    if name not in INTERPRETERS:
        return tag
    minor = tag[len(name) + 1 :]
    if minor:
        return f"{INTERPRETERS[name]} {major}.{minor}"
    if tag == name:
        return f"any {INTERPRETERS[name]}"
    return f"any {INTERPRETERS[name]} {major}"


def _split_interpreter(tag: str) -> tuple[str, int, int]:
    """Return name, major and minor version of an interpreter tag, or `("", 0, 0)`."""
    match = _INTERPRETER.fullmatch(tag)
    # after the first digit comes the minor version: `cp312` is 3.12
    if match is None or len(match[3]) > 3:  # noqa: PLR2004 - and so no version
        return "", 0, 0
    return match[1], int(match[2] or 0), int(match[3] or 0)


def _describe_build(abi: str, pythons: list[str]) -> str:
    """Return in words what an ABI tag says that the interpreter tags do not say."""
    if abi in {"none", "abi3"} or abi.startswith(("pypy", "graalpy")):
        return ""
    if abi == "abi3t":
        return _VARIANTS["t"]
    match = _CPYTHON_ABI.fullmatch(abi)
    if match is None or not set(match[1]) <= {*_VARIANTS, "m"}:
        return f"ABI {abi}"
    words = [_VARIANTS[letter] for letter in match[1] if letter in _VARIANTS]
    name = abi[: match.start(1)]
    if name not in pythons:
        words.insert(0, f"ABI {name}")
    return ", ".join(words)


def _interpreter_facets(pythons: list[str], abis: list[str]) -> tuple[Facet, ...]:
    if any(abi.startswith("abi3") for abi in abis):
        # whatever the tag says, it is for all later versions as well
        return (_STABLE,)
    facets: list[Facet] = []
    for tag in pythons:
        words = _describe_interpreter(tag)
        facets.append(Facet(tag, f"{words[0].upper()}{words[1:]}"))
    return tuple(facets)


# --- platforms ------------------------------------------------------------------------------------


def _describe_platforms(tags: Iterable[str]) -> Iterator[str]:
    """Yield the platforms in words, but none for `any`."""
    lowest: dict[tuple[str, str], Version] = {}
    for tag in tags:
        for platform in _platforms(tag):
            key = platform.system, platform.architecture
            # installers take a wheel from the lowest version on, whatever other tags it has
            lowest[key] = min(platform.version, lowest.get(key, platform.version))
    groups: dict[tuple[str, Version, str], list[str]] = {}
    for (system, architecture), version in lowest.items():
        group = (system, version, architecture)
        if system in {"macOS", "Windows"}:
            # one text has all architectures, as of a universal wheel
            group = (system, version, "")
        groups.setdefault(group, []).append(architecture)
    for (system, version, _), architectures in groups.items():
        yield _describe_platform(system, version, " and ".join(architectures))


def _describe_platform(system: str, version: Version, architectures: str) -> str:
    if not system:
        return architectures  # the tag itself
    if system == "Linux" and not version:
        return f"Linux {architectures}"
    if system == "macOS" and version[0] > 10 and not version[1]:  # noqa: PLR2004 - 11.0 is macOS 11
        version = version[:1]
    return _SYSTEMS[system][1].format(
        system=system, version=".".join(map(str, version)), architectures=architectures
    )


def _platforms(tag: str) -> Iterator[_Platform]:
    """Yield the platforms of a platform tag, one for each architecture."""
    if tag == "any":
        return
    system, match = _parse(tag)
    if match is None:
        yield _Platform("", tag, ())
        return
    groups = match.groupdict()
    # `win32` alone names no architecture
    architecture = groups.get("architecture") or "x86"
    version: Version = ()
    if groups.get("version"):
        version = tuple(map(int, groups["version"].split("_")))
    version = _OLD_MANYLINUX.get(tag.partition("_")[0], version)
    if system != "macOS":
        yield _Platform(system, ARCHITECTURES.get(architecture, architecture), version)
        return
    for name in _APPLE_FORMATS.get(architecture, (architecture,)):
        yield _Platform(system, _APPLE.get(name, name), version)


def _parse(tag: str) -> tuple[str, re.Match[str] | None]:
    """Return the system of a platform tag and what its pattern matches, or an empty text."""
    for system, pattern in _PATTERNS.items():
        match = pattern.fullmatch(tag)
        if match is not None:
            return system, match
    return "", None


def _family(tag: str) -> Facet:
    """Return the facet of a platform tag: its system, whatever the version or architecture."""
    if tag == "any":
        return Facet("on-any", "Any platform")
    system, _ = _parse(tag)
    if not system:
        return Facet("on-other", "Other platforms")
    return Facet(f"on-{system.lower().replace(' ', '-')}", system)
