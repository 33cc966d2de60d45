"""
A small Debian, unpacked from the packages of a lock: names, versions and SHA-256 digests.

apt chooses and fetches them, after it has verified the signature of the mirror. No program and no
script of a package runs, so a machine of any processor makes the Debian of each.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

SUITE: Final = "trixie"
KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LOCKS: Final = Path(__file__).resolve().parents[1] / "deploy" / "image"
CACHE: Final = Path(__file__).resolve().parents[1] / ".cache" / "debian"
WANTED: Final = {
    "image": ("base-files", "ca-certificates", "python3"),
    "builder": ("coreutils", "dash", "python3-venv"),
}
"""What each use of Debian begins with. The builder has the packages of the image, too."""
LEFT_OUT: Final = frozenset({"awk", "debconf", "dpkg", "openssl", "readline-common"})
"""Dependencies that only scripts of packages use, or that only configure an editor of lines."""
HEAD: Final = "# Packages of Debian in the image: `python -m tools.image lock` makes this file.\n"
UNUSED: Final = ("info", "lintian", "locale", "man")
"""Folders of `/usr/share` that are left out, as in other small images of Debian."""
FILES: Final = {
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
}
"""Files that the scripts of packages would make."""
CONFIGURATION: Final = """
APT::Architecture "{processor}";
APT::Architectures {{ "{processor}"; }};
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "{is_fresh}";
Acquire::Languages "none";
Dir::Cache "{folder}";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "{folder}/archives";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{folder}";
Dir::State "{folder}";
Dir::State::Status "{folder}/status";
"""
SOURCES: Final = """
Types: deb
URIs: {mirrors.debian}
Suites: {suite} {suite}-updates
Components: main
Signed-By: {keys}

Types: deb
URIs: {mirrors.security}
Suites: {suite}-security
Components: main
Signed-By: {keys}
"""


class DebianError(Exception):
    """Packages are not to be had; the message says in one line which, and what to do."""


@dataclass(frozen=True, order=True)
class Package:
    """A line of a lock."""

    use: str
    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Mirrors:
    """The URLs of a mirror of Debian, and of one of its security updates."""

    debian: str
    security: str

    @classmethod
    def of_this_machine(cls) -> "Mirrors":
        """
        Return those that the machine's own apt uses.

        Raises:
            DebianError: It uses none, or has not fetched any list of packages.
        """
        only = ("Created-By: Packages", "Origin: Debian")
        output = _output("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", *only)
        urls = dict(line.split() for line in output.splitlines())
        if not urls.keys() >= {"Debian", "Debian-Security"}:
            raise DebianError(
                "apt has no mirror of Debian and its security updates here:"
                " run `apt-get update`, or name both with --mirror and --security-mirror"
            )
        return cls(urls["Debian"], urls["Debian-Security"])


def read_lock(processor: str) -> list[Package]:
    """Return the packages of a lock."""
    lines = _lock(processor).read_text(encoding="utf-8").splitlines()
    return [Package(*line.split()) for line in lines if not line.startswith("#")]


def write_lock(processor: str, mirrors: Mirrors) -> None:
    """Write a lock of the newest versions of what is wanted and all that it needs."""
    packages: dict[str, Package] = {}
    with _apt(processor, mirrors, is_fresh=True) as settings:
        for use, names in WANTED.items():
            missing = [*names]
            while missing:
                command = ("apt-cache", *settings, "show", "--no-all-versions", *missing)
                shown = [*_stanzas(_output(*command))]
                for stanza in shown:
                    name = stanza["Package"]
                    packages[name] = Package(use, name, stanza["Version"], stanza["SHA256"])
                needed = {name for stanza in shown for name in _needed(stanza)}
                missing = sorted(needed - packages.keys() - LEFT_OUT)
    lines = (
        f"{package.use} {package.name} {package.version} {package.sha256}\n"
        for package in sorted(packages.values())
    )
    _lock(processor).write_text(HEAD + "".join(lines), encoding="utf-8")


def fetch(processor: str, packages: Sequence[Package], mirrors: Mirrors | None) -> list[Path]:
    """
    Return the files of locked packages, which are kept for the next time.

    Args:
        processor: The processor that they are for.
        packages: The packages.
        mirrors: Where they are; None: where the machine's own apt takes them from.

    Raises:
        DebianError: The mirror does not have these versions, or has other files of them.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    files = [CACHE / f"{package.sha256}.deb" for package in packages]
    missing = [package for package in packages if not (CACHE / f"{package.sha256}.deb").exists()]
    if missing:
        mirrors = mirrors or Mirrors.of_this_machine()
        with _apt(processor, mirrors, is_fresh=False) as settings, _folder() as folder:
            shown = _output("apt-cache", *settings, "show", *(package.name for package in missing))
            offered = {(stanza["Package"], stanza["SHA256"]) for stanza in _stanzas(shown)}
            names = [
                f"{package.name} {package.version}"
                for package in missing
                if (package.name, package.sha256) not in offered
            ]
            if names:
                raise DebianError(
                    f"the mirror lacks locked packages ({', '.join(names)}, {processor}):"
                    " `python -m tools.image lock` locks what it has now,"
                    " and --mirror with --security-mirror can name an archive of old packages"
                )
            exact = [f"{package.name}={package.version}" for package in missing]
            _output("apt-get", *settings, "--quiet", "download", *exact, folder=folder)
            for file in folder.iterdir():
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                shutil.move(file, CACHE / f"{digest}.deb")
    for file in files:  # also what an earlier run has fetched
        if hashlib.sha256(file.read_bytes()).hexdigest() != file.stem:
            raise DebianError(f"{file} is damaged: remove it")
    return files


def unpack(files: Iterable[Path], root: Path) -> None:
    """Unpack packages into a new folder, and write what their scripts would."""
    status = []
    for file in files:
        _output("dpkg-deb", "--extract", file, root)
        name, *others = _output("dpkg-deb", "--field", file).splitlines(keepends=True)
        status.append("".join([name, "Status: install ok installed\n", *others, "\n"]))
    (root / "var/lib/dpkg/status").write_text("".join(sorted(status)), encoding="utf-8")
    for folder in UNUSED:
        shutil.rmtree(root / "usr/share" / folder, ignore_errors=True)
    for path in (root / "usr/share/doc").rglob("*"):
        if path.name != "copyright" and not path.is_dir():
            path.unlink()
    for file_name, text in FILES.items():
        (root / file_name).write_text(text, encoding="utf-8")
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = "etc/ssl/certs/ca-certificates.crt"
    (root / bundle).write_bytes(b"".join(path.read_bytes() for path in certificates))
    (root / "usr/lib/ssl").mkdir()
    (root / "usr/lib/ssl/cert.pem").symlink_to(f"/{bundle}")
    (root / "usr/lib/ssl/certs").symlink_to("/etc/ssl/certs")


def control(file: Path) -> Mapping[str, str]:
    """Return the fields of a package that have one line."""
    (stanza,) = _stanzas(_output("dpkg-deb", "--field", file))
    return stanza


def licences(root: Path, name: str) -> list[str]:
    """Return the names of licences that the file of copyrights of a package has."""
    file = root / "usr/share/doc" / name / "copyright"
    text = file.read_text(encoding="utf-8")
    names = re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE)
    # older files are prose, which names the texts of licences
    return sorted(set(names or re.findall(r"/usr/share/common-licenses/([\w-]+(?:\.\d+)?)", text)))


@contextmanager
def _apt(processor: str, mirrors: Mirrors, *, is_fresh: bool) -> Iterator[Sequence[str]]:
    """
    Yield the options of apt for nothing but the lists of a processor's packages.

    Args:
        processor: The processor.
        mirrors: Where the lists are from.
        is_fresh: Whether a list that its mirror does not renew any more is an error.
    """
    with _folder() as folder:
        for name in ("archives/partial", "lists/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        sources = SOURCES.format(mirrors=mirrors, suite=SUITE, keys=KEYS)
        (folder / "debian.sources").write_text(sources, encoding="utf-8")
        configuration = CONFIGURATION.format(
            processor=processor, folder=folder, is_fresh=str(is_fresh).lower()
        )
        (folder / "apt.conf").write_text(configuration, encoding="utf-8")
        settings = ("--config-file", str(folder / "apt.conf"))
        _output("apt-get", *settings, "--quiet", "update", "--error-on=any")
        yield settings


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


def _lock(processor: str) -> Path:
    return LOCKS / f"debian-{processor}.txt"


def _stanzas(text: str) -> Iterator[Mapping[str, str]]:
    """Yield the fields of each package; the first line of those that have several."""
    for stanza in text.split("\n\n"):
        if stanza.strip():
            yield dict(re.findall(r"^([\w-]+): ?(.*)$", stanza, re.MULTILINE))


def _needed(stanza: Mapping[str, str]) -> Iterator[str]:
    """Yield the packages that a package depends on; the first one of alternatives."""
    for field in ("Pre-Depends", "Depends"):
        for clause in filter(None, stanza.get(field, "").split(",")):
            yield re.split(r"[ (:|]", clause.strip())[0]


def _output(*command: str | Path, folder: Path | None = None) -> str:
    """
    Return what a command prints.

    Raises:
        DebianError: It has failed.
    """
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    if done.returncode:
        raise DebianError(f"{command[0]} has failed: {' '.join(done.stderr.split())}")
    return done.stdout
