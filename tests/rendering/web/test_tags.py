"""Wheel tags in words."""

import re
from itertools import chain, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging import tags

from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.rendering.web.compatibility import ARCHITECTURES, Facet, compatibility_of

IN_WORDS = {
    "py3-none-any": "any Python 3",
    "py2.py3-none-any": "any Python",
    "py38-none-any": "Python 3.8 or newer",
    "py36.py37.py38-none-any": "Python 3.6 or newer",
    "py27-none-any": "Python 2.7",
    "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64": (
        "CPython 3.12, Linux x86-64 (glibc 2.17 or newer)"
    ),
    "cp37-cp37m-manylinux1_i686": "CPython 3.7, Linux 32-bit x86 (glibc 2.5 or newer)",
    "cp313-cp313t-musllinux_1_2_aarch64": (
        "CPython 3.13 (free-threaded), Linux ARM64 (musl 1.2 or newer)"
    ),
    "cp312-cp312-linux_x86_64": "CPython 3.12, Linux x86-64",
    "cp312-cp312-macosx_11_0_arm64": "CPython 3.12, macOS 11 or newer, Apple silicon",
    "cp39-cp39-macosx_10_9_universal2": (
        "CPython 3.9, macOS 10.9 or newer, Intel and Apple silicon"
    ),
    "cp312-cp312-macosx_10_13_x86_64.macosx_11_0_arm64": (
        "CPython 3.12, macOS 10.13 or newer, Intel; macOS 11 or newer, Apple silicon"
    ),
    "cp37-abi3-win32": "CPython 3.7 or newer, Windows 32-bit x86",
    "cp35.cp36.cp37-abi3-win_amd64": "CPython 3.5 or newer, Windows x86-64",
    "cp315-abi3t-win_arm64": "CPython 3.15 or newer (free-threaded), Windows ARM64",
    "cp313-cp313.cp313t-win_amd64": ("CPython 3.13 (usual build or free-threaded), Windows x86-64"),
    "cp27-cp27mu-manylinux2010_x86_64": (
        "CPython 2.7 (wide Unicode), Linux x86-64 (glibc 2.12 or newer)"
    ),
    "pp310-pypy310_pp73-win_amd64": "PyPy 3.10, Windows x86-64",
    "pp3-none-any": "any PyPy 3",
    "graalpy311-graalpy242_311_native-manylinux_2_27_aarch64": (
        "GraalPy 3.11, Linux ARM64 (glibc 2.27 or newer)"
    ),
    "cp313-cp313-ios_13_0_arm64_iphoneos": "CPython 3.13, iOS 13.0 or newer, ARM64",
    "cp313-cp313-android_21_arm64_v8a": "CPython 3.13, Android ARM64 (API level 21 or newer)",
    "cp313-cp313-pyodide_2025_0_wasm32": "CPython 3.13, Pyodide 2025.0, WebAssembly",
    "py3-none-manylinux_2_17_x86_64.musllinux_1_1_x86_64": (
        "any Python 3, Linux x86-64 (glibc 2.17 or newer); Linux x86-64 (musl 1.1 or newer)"
    ),
    "cp312-cp312-plan9_mips": "CPython 3.12, plan9_mips",
    "xx9-yy-any": "xx9 (ABI yy)",
    "cp-none-any": "any CPython",
    "cp31234-none-any": "cp31234",
    "cp312-cp312x-any": "CPython 3.12 (ABI cp312x)",
    "py3-cp312-linux_x86_64": "any Python 3 (ABI cp312), Linux x86-64",
    "cp313-cp314t-any": "CPython 3.13 (ABI cp314, free-threaded)",
}


@pytest.mark.parametrize(("tag", "text"), IN_WORDS.items())
def test_wheel_in_words(tag: str, text: str) -> None:
    """A page says in words which interpreter and which platform a wheel is for."""
    found = compatibility_of(f"demo-1.0-{tag}.whl")
    assert (found.kind, found.text) == ("wheel", text)


@pytest.mark.parametrize(
    ("tag", "path", "label"),
    [
        ("any", "on-any", "Any platform"),
        ("win32", "on-windows", "Windows"),
        ("plan9_mips", "on-other", "Other platforms"),
    ],
)
def test_platform_to_select(tag: str, path: str, label: str) -> None:
    """Wheels are selected by their system, and those of unknown systems by one name for all."""
    found = compatibility_of(f"demo-1.0-py3-none-{tag}.whl")
    assert found.platforms == (Facet(path, label),)


@pytest.mark.parametrize(
    ("tags_of_wheel", "facets"),
    [
        ("py3-none", [("py3", "Any Python 3")]),
        ("cp312.cp313-none", [("cp312", "CPython 3.12"), ("cp313", "CPython 3.13")]),
        ("cp37-abi3", [("stable-abi", "Stable ABI of CPython")]),
        ("cp315.cp316-abi3t", [("stable-abi", "Stable ABI of CPython")]),
    ],
    ids=["one", "two", "stable ABI", "stable ABI of free-threaded builds"],
)
def test_interpreter_to_select(tags_of_wheel: str, facets: list[tuple[str, str]]) -> None:
    """Wheels are selected by their interpreters, and those of the stable ABI by that alone."""
    found = compatibility_of(f"demo-1.0-{tags_of_wheel}-any.whl")
    assert [(facet.path, facet.label) for facet in found.interpreters] == facets


@pytest.mark.parametrize(
    ("filename", "kind", "text"),
    [
        ("demo-1.0.tar.gz", "sdist", "source code"),
        ("demo-1.0.zip", "sdist", "source code"),
        ("demo-1.0-py3.7.egg", "egg", "Python 3.7"),
        ("demo-1.0.win32-py2.7.exe", "installer", "Python 2.7, win32"),
        ("demo-1.0.win-amd64.msi", "installer", "any Python, win-amd64"),
    ],
)
def test_other_files_in_words(filename: str, kind: str, text: str) -> None:
    """Source distributions and obsolete formats have words, too."""
    found = compatibility_of(filename)
    assert (found.kind, found.text) == (kind, text)


LINUX = [
    f"{libc}_{arch}"
    for libc in ("linux", "manylinux1", "manylinux2010", "manylinux2014", "manylinux_2_28")
    for arch in ("x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64")
]
PLATFORMS = [
    *LINUX,
    *("musllinux_1_1_x86_64", "musllinux_1_2_aarch64", "win32", "win_amd64", "win_arm64"),
    *chain.from_iterable(
        tags.mac_platforms(version, arch)
        for version, arch in product([(10, 6), (10, 15), (15, 0)], ["x86_64", "arm64", "ppc"])
    ),
    *tags.ios_platforms((18, 1), "arm64_iphoneos"),
    *tags.ios_platforms((13, 0), "x86_64_iphonesimulator"),
    *tags.android_platforms(30, "x86_64"),
]
VERSIONS = [(2, 7), (3, 7), (3, 9), (3, 14)]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_tag_that_packaging_knows(version: tuple[int, int]) -> None:
    """No tag that an installer can ask for is left as a code."""
    name = "".join(map(str, version))
    of_cpython = tags.cpython_tags(version, [f"cp{name}", f"cp{name}t"], PLATFORMS)
    of_pypy = tags.generic_tags(f"pp{name}", [f"pypy{name}_pp73"], PLATFORMS)
    compatible = tags.compatible_tags(version, f"cp{name}", PLATFORMS)
    for tag in {*of_cpython, *of_pypy, *compatible}:
        found = compatibility_of(f"demo-1.0-{tag}.whl")
        assert not re.search(r"_|ABI|\bcp|\bpp", found.text), (tag, found.text)
        assert "on-other" not in {facet.path for facet in found.platforms}
        (platform,) = found.platforms
        assert platform.label.split()[0] in {*found.text.replace(",", "").split(), "Any"}


WORDS = st.from_regex(r"[a-z_]{1,9}[0-9]{0,4}[a-z_0-9]{0,9}", fullmatch=True)
PARTS = st.sampled_from(
    [*PLATFORMS, *ARCHITECTURES, "cp312", "py3", "abi3", "cp312t", "none", "any", "macosx", "win"]
)
TAGS = st.lists(WORDS | PARTS, min_size=1, max_size=4).map(".".join)


@pytest.mark.slow
@given(TAGS, TAGS, TAGS)
def test_any_tags_are_harmless(python: str, abi: str, platform: str) -> None:
    """Whatever is in the filename of a wheel, there are words for it, and pages to select it."""
    filename = f"demo-1.0-{python}-{abi}-{platform}.whl"
    try:
        parse_known_filename(filename)
    except Invalid:
        return
    found = compatibility_of(filename)
    assert found.text
    assert re.fullmatch(r"[A-Za-z0-9 _.,;+!()-]+", found.text)
    facets = (*found.interpreters, *found.platforms)
    assert facets
    for facet in facets:
        assert facet.label
        assert not facet.path.isdigit()
        assert re.fullmatch(r"[A-Za-z0-9_+!-]+", facet.path)
