"""
Makes the folder that `gcloud app deploy` sends to App Engine.

    python3 deploy/app-engine/bundle.py FOLDER

App Engine installs what a requirements.txt names, and nothing else. So the folder gets a wheel of
this clone, and a requirements.txt with that wheel and all that it needs, each with its hash; and
app.yaml and wheelyard.toml with the values of this shell. Needs Python 3.11 with `venv`, and an
index that pip installs from.

A folder that is there is replaced if it was made here, which a file in it says; nothing else is
ever taken away. The new one is made beside it, and takes its place once it is whole.
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
RENDERED = ("app.yaml", "wheelyard.toml")
MARK = ".wheelyard-bundle"
"""The file by which a folder of ours is known again."""
MARK_TEXT = (
    "Made by deploy/app-engine/bundle.py, which replaces this folder with all that is in it.\n"
)


def main(arguments: list[str]) -> int:
    """Make the folder; one that is there must be one of ours, and is made anew."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python3 deploy/app-engine/bundle.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    if (folder.exists() or folder.is_symlink()) and not (folder / MARK).is_file():
        said = f"{folder} was not made by this program; remove it yourself, or name a new folder"
        print(f"bundle.py: {said}", file=sys.stderr)
        return 1
    try:
        return _replace(folder)
    except OSError as error:
        print(f"bundle.py: {folder} cannot be made: {error.strerror}", file=sys.stderr)
        return 1


def _replace(folder: Path) -> int:
    """Make the folder beside its place, and put it there; return the status to end with."""
    place = folder.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as beside:
        new = Path(beside) / "new"
        new.mkdir()
        try:
            _fill(new)
        except subprocess.CalledProcessError as error:
            return error.returncode  # what went wrong has been said on standard error
        if place.exists():
            place.rename(Path(beside) / "old")  # and is gone with the folder that it is in now
        new.rename(place)
    print(folder / "app.yaml")
    return 0


def _fill(folder: Path) -> None:
    """Put everything into an empty folder."""
    for name in RENDERED:
        (folder / name).write_text(_rendered(HERE / name), encoding="utf-8")
    wheel = _wheel(folder)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    locked = (REPOSITORY / "requirements" / "gcs.txt").read_text(encoding="utf-8")
    (folder / "requirements.txt").write_text(
        f"{locked}./{wheel.name} \\\n    --hash=sha256:{digest}\n", encoding="utf-8"
    )
    (folder / MARK).write_text(MARK_TEXT, encoding="utf-8")


def _rendered(file: Path) -> str:
    """Return a file with the values of this shell in it."""
    command = [sys.executable, str(HERE.parent / "render.py"), str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")  # noqa: S603 - ours
    return done.stdout


def _wheel(folder: Path) -> Path:
    """Build a wheel of this clone, with the backend that the lock names and no other."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        pip = [str(Path(place) / "bin" / "python"), "-m", "pip", "--quiet"]
        lock = str(REPOSITORY / "requirements" / "build.txt")
        _run(*pip, "install", "--require-hashes", "--requirement", lock)
        build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
        _run(*pip, *build, str(REPOSITORY))
    (wheel,) = folder.glob("wheelyard-*.whl")
    return wheel


def _run(*command: str) -> None:
    # pip's own setting would put what is installed elsewhere, which an environment refuses
    environment = {**os.environ, "PIP_USER": "0"}
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)  # noqa: S603 - ours


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
