"""Lock files of every kind, as the tools write them, and hostile ones."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.errors import Invalid
from wheelyard.upstream.lock_files.locked_package import BAD_LOCK_FILE
from wheelyard.upstream.lock_files.read import LockedFiles, read_lock_files

SAMPLES: Final = Path(__file__).with_name("samples")
"""Files that uv 0.13, pip 26.3, Poetry 2.5 and 1.1, and PDM 2.29 have made."""
IDNA_WHEEL: Final = "946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3"
IDNA_SDIST: Final = "12f65c9b470abda6dc35cf8e63cc574b1c52b11df2c86030af0ac09b01b13ea9"
COLORAMA_WHEEL: Final = "4f1d9991f5acc0ca119f9d443620b77f9d6b33703e51011c16baf57afb285fc6"
COLORAMA_SDIST: Final = "08695f5cb7ed6e0531a20572697297273c47b8cae5a63ffc6d6ed5c201be6e44"
WHEELS: Final = {("idna", "3.10", IDNA_WHEEL), ("colorama", "0.4.6", COLORAMA_WHEEL)}
SDISTS: Final = {("idna", "3.10", IDNA_SDIST), ("colorama", "0.4.6", COLORAMA_SDIST)}
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def _digests(listed: LockedFiles) -> set[tuple[str, str | None, str]]:
    files = (file for each in listed.projects.values() for file in each)
    return {(file.project, file.version, file.sha256) for file in files}


def _written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("sample", sorted(each.name for each in SAMPLES.iterdir()))
def test_every_kind_lists_the_same_files(sample: str) -> None:
    """Whichever tool has locked a project, the same files are listed for it."""
    listed = read_lock_files([SAMPLES / sample])
    assert _digests(listed) == (WHEELS if "from-pip" in sample else WHEELS | SDISTS)
    assert (listed.without_digest, listed.foreign) == ((), ())
    names = {file.filename for file in listed.projects["idna"]} - {""}  # type: ignore[index]
    assert names <= {"idna-3.10-py3-none-any.whl", "idna-3.10.tar.gz"}
    assert bool(names) == (sample != "requirements.txt")


def test_several_files_are_read_as_one() -> None:
    """A digest that several lock files list counts once, with the filename that one of them has."""
    listed = read_lock_files(SAMPLES / name for name in ("requirements.txt", "uv.lock"))
    assert _digests(listed) == WHEELS | SDISTS
    assert all(file.filename for each in listed.projects.values() for file in each)


def test_a_kind_is_recognised_without_its_name(tmp_path: Path) -> None:
    """A lock file under another name is read as what it is."""
    for sample in ("uv.lock", "poetry.lock", "pylock.toml", "pdm.lock"):
        other = _written(tmp_path, f"{sample}.txt", (SAMPLES / sample).read_bytes())
        assert _digests(read_lock_files([other])) == WHEELS | SDISTS


def test_requirements_as_people_write_them(tmp_path: Path) -> None:
    """Extras, markers, comments, continued lines, URLs and options of pip are understood."""
    text = f"""\
    # head
--index-url https://index.example.com/simple --pre
-e .
Foo.Bar[x,y]==1.0.0 ; python_version >= '3.8' and (os_name == "a" or os_name == "b") \\
    --hash=sha256:{A} \\
    --hash sha256:{B.upper()}  # via nothing
named @ https://files.example.com/named-2-py3-none-any.whl ; os_name == "nt" --hash=sha256:{A}
https://u:secret@files.example.com/bare-1.0.tar.gz#sha256={C}
any>=1,<2 --hash=sha256:{A} --config-settings "--x=y"
./local-1.0-py3-none-any.whl --hash=sha256:{A}
git+https://git.example.com/x.git@main#egg=x
last==1 --hash=sha256:{A}"""
    listed = read_lock_files([_written(tmp_path, "requirements.txt", text)])
    assert _digests(listed) == {
        ("foo-bar", "1.0.0", A),
        ("foo-bar", "1.0.0", B),
        ("named", "2", A),
        ("bare", "1.0", C),
        ("any", None, A),
        ("last", "1", A),
    }
    assert [each.place.line for each in listed.foreign] == [3, 10, 11]


def test_included_files_are_read_once(tmp_path: Path) -> None:
    """-r and -c are relative to their file; files that name each other are read once."""
    main = _written(tmp_path, "all.txt", f"-r sub/one.txt\na==1 --hash=sha256:{A}\n")
    _written(tmp_path, "sub/one.txt", "b==1\n-rtwo.txt\n--constraint=../c.txt\nd==1\n-r ../all.txt")
    _written(tmp_path, "sub/two.txt", f"-r one.txt\nd==1 --hash=sha256:{B}")
    _written(tmp_path, "c.txt", f"b==1 --hash=sha256:{C}\nunused==1")
    listed = read_lock_files([main])
    assert _digests(listed) == {("a", "1", A), ("d", "1", B), ("b", "1", C)}
    assert listed.without_digest == ()


def test_a_requirement_without_a_digest_is_said(tmp_path: Path) -> None:
    """Whoever forgot --generate-hashes learns which line has none."""
    listed = read_lock_files([_written(tmp_path, "r.txt", f"\na==1\nb==1 --hash=sha256:{A}\nc\n")])
    found = [(str(each.place), each.project) for each in listed.without_digest]
    assert found == [(f"{tmp_path}/r.txt:2", "a"), (f"{tmp_path}/r.txt:4", "c")]


def test_what_no_index_has_is_said(tmp_path: Path) -> None:
    """Packages from repositories and from disk are named, the project itself is not."""
    uv = """version = 1
[[package]]
name = "app"
source = { editable = "." }
[[package]]
name = "a"
source = { git = "https://git.example.com/a?rev=1#1" }
[[package]]
name = "b"
version = "1"
source = { path = "b-1-py3-none-any.whl" }
"""
    pylock = """lock-version = "1.0"
[[packages]]
name = "a"
vcs = { type = "git", commit-id = "1" }
[[packages]]
name = "app"
directory = { path = "." }
"""
    poetry = """[[package]]
name = "a"
version = "1"
files = []
[package.source]
type = "git"
[metadata]
lock-version = "2.1"
"""
    for name, text, lines in (
        ("uv.lock", uv, [5, 8]),
        ("pylock.app.toml", pylock, [2]),
        ("poetry.lock", poetry, [1]),
    ):
        listed = read_lock_files([_written(tmp_path, name, text)])
        assert [each.place.line for each in listed.foreign] == lines
        assert (listed.projects, listed.without_digest) == ({}, ())


@pytest.mark.parametrize(
    ("name", "text", "line", "why"),
    [
        ("r.txt", "\n\na==1 --hash=md5:1234", 3, "'md5'"),
        ("r.txt", f"a==1 \\\n  --hash=sha512:{A}{A}", 1, "'sha512'"),
        ("r.txt", "a==1 --hash=sha256:12", 1, "64 digits"),
        ("r.txt", "a==1 --hash", 1, "64 digits"),
        ("r.txt", "a==1 --hsah=sha256:12", 1, "not an option"),
        ("r.txt", "--requirment=x", 1, "not an option"),
        ("r.txt", "#\n-r", 2, "lacks its value"),
        ("r.txt", "-r https://h.example.com/r.txt", 1, "another server"),
        ("r.txt", "a==1\n-r missing.txt", 2, "missing.txt cannot be read"),
        ("r.txt", "-r 'x", 1, "quotation mark"),
        ("r.txt", "a\0==1", 1, "not a requirement"),
        ("r.txt", f"a=={'9' * 5000}", 1, "characters"),
        ("r.txt", b"#\n# \xe9", 2, "UTF-8"),
        ("uv.lock", "version = 1\n\n[[package]]\nname = 3", 4 - 1, "not as lock files have it"),
        ("uv.lock", "version = 1\n[[package]\n", 2, "not TOML"),
        ("uv.lock", "version = 9\npackage = []", 1, "no lock file of a known kind"),
        ("pylock.toml", "lock-version = '1.0'\na = " + "[" * 50_000, 1, "nested"),
        ("pylock.toml", "#\nlock-version = '2.0'", 2, "PEP 751"),
        ("pylock.toml", "lock-version = '1.0'\npackages = 3", 1, "array"),
        (
            "pylock.toml",
            "lock-version = '1.0'\n[[packages]]\nname = '../a'",
            2,
            "name of a project",
        ),
        ("pdm.lock", "[metadata]\nlock_version = '4'\n[metadata.files]\n'a 1' = 3", 4, "files"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(
    tmp_path: Path, name: str, text: str | bytes, line: int, why: str
) -> None:
    """What cannot be read ends with one line that says where it is wrong, and what is."""
    with pytest.raises(Invalid, match=why) as raised:
        read_lock_files([_written(tmp_path, name, text)])
    assert raised.value.message.startswith(f"{tmp_path}/{name}:{line}: ")
    assert raised.value.code == BAD_LOCK_FILE
    assert raised.value.message.isprintable()


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    """A missing file, a folder and an endless one end with a message."""
    for path in (tmp_path / "none.txt", tmp_path, Path("/dev/zero")):
        with pytest.raises(Invalid, match=f"{path}(:1)?[: ]"):
            read_lock_files([path])


@given(text=st.text(alphabet="a1=.-_ @:/\\#;'\"[]{}()\n~!<>,$*rce\0\u20ac", max_size=80))
def test_no_text_breaks_the_readers(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any text at all is a list of packages, or one message."""
    folder = tmp_path_factory.getbasetemp()
    for name in ("r.txt", "uv.lock"):
        fault = _fault(_written(folder, name, text))
        assert fault is None or fault.startswith(f"{folder}/{name}:")


def _fault(path: Path) -> str | None:
    try:
        read_lock_files([path])
    except Invalid as error:
        return error.message
    return None
