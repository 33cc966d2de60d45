"""
Makes the folder that `gcloud app deploy` sends to App Engine.

    python3 deploy/app-engine/bundle.py FOLDER

App Engine installs only what requirements.txt lists. So the folder contains a wheel of this clone,
a requirements.txt with the wheel and its dependencies, each with its hash, and app.yaml,
wheelyard.toml and index.toml, filled in from the environment. Needs Python 3.11 with `venv`, and an
index for pip.

An existing folder is replaced only if it has the marker file of this program. The new folder is
made beside it, and renamed when it is complete.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
RENDERED = ("app.yaml", "wheelyard.toml", "index.toml")
MARKER = ".wheelyard-bundle"
"""The file that marks a folder made by this program."""
MARKER_TEXT = (
    "Made by deploy/app-engine/bundle.py, which replaces this folder with all that is in it.\n"
)


def main(arguments: list[str]) -> int:
    """Make the folder, or replace one that this program has made; return the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python3 deploy/app-engine/bundle.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    if (folder.exists() or folder.is_symlink()) and not (folder / MARKER).is_file():
        message = f"{folder} was not made by this program; remove it yourself, or name a new folder"
        print(f"bundle.py: {message}", file=sys.stderr)
        return 1
    try:
        return _replace(folder)
    except OSError as error:
        print(f"bundle.py: {folder} cannot be made: {error.strerror}", file=sys.stderr)
        return 1


def _replace(folder: Path) -> int:
    """Make a new folder beside the old one, and rename it; return the exit status."""
    target = folder.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        try:
            _fill(new)
        except subprocess.CalledProcessError as error:
            return error.returncode  # the command has printed the error
        if target.exists():
            target.rename(Path(temporary) / "old")  # removed with the temporary folder
        new.rename(target)
    print(folder / "app.yaml")
    return 0


def _fill(folder: Path) -> None:
    """Write all files into an empty folder."""
    for name in RENDERED:
        (folder / name).write_text(_rendered(HERE / name), encoding="utf-8")
    wheel = _wheel(folder)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    locked = (REPOSITORY / "requirements" / "gcs.txt").read_text(encoding="utf-8")
    (folder / "requirements.txt").write_text(
        f"{locked}./{wheel.name} \\\n    --hash=sha256:{digest}\n", encoding="utf-8"
    )
    (folder / MARKER).write_text(MARKER_TEXT, encoding="utf-8")


def _rendered(file: Path) -> str:
    """Return the text of a file, filled in from the environment."""
    command = [sys.executable, str(HERE.parent / "render.py"), str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")  # noqa: S603 - ours
    return done.stdout


def _wheel(folder: Path) -> Path:
    """Build a wheel of this clone with the locked build backend."""
    with tempfile.TemporaryDirectory() as tools:
        venv.create(tools, with_pip=True)
        pip = [str(Path(tools) / "bin" / "python"), "-m", "pip", "--quiet"]
        lock = str(REPOSITORY / "requirements" / "build.txt")
        _run(*pip, "install", "--require-hashes", "--requirement", lock)
        build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
        _run(*pip, *build, str(REPOSITORY))
    (wheel,) = folder.glob("wheelyard-*.whl")
    return wheel


def _run(*command: str) -> None:
    # a user's setting `pip install --user` fails in a virtual environment
    environment = {**os.environ, "PIP_USER": "0"}
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)  # noqa: S603 - ours


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
