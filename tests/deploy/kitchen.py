"""
Carries out a Dockerfile without Docker: each FROM, COPY and RUN, in rooms of their own.

What pip needs is fetched before, by this machine's own pip with whatever mirror it is used to; in
the rooms there is no network at all, so a step that wants more than the locks name fails.
"""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY
from tests.deploy.kitchen_recipe import Ignored, Stage, Step, filled_in, read_recipe
from tests.deploy.kitchen_walls import SYSTEM_PATH, Stay, enter, make_room, python_prefix

DOCKERFILE = "deploy/image/Dockerfile"
WHEELS = REPOSITORY / ".cache" / "wheels"
OURS = re.compile(r"(?<![\w.])/(?=(?:build|data|dist|opt|run|tools)\b)")
"""Where a path begins that a Dockerfile means to be the image's, and not this machine's."""


@dataclass
class Image:
    """
    What a stage has become.

    Args:
        root: Its root folder.
        environment: What ENV has set.
        arguments: What ARG has set.
        folder: The WORKDIR.
    """

    root: Path
    stage: Stage
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM_PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"

    @property
    def command(self) -> list[str]:
        """What runs if nothing is said: ENTRYPOINT and CMD."""
        return [*self.stage.last("ENTRYPOINT").words(), *self.stage.last("CMD").words()]

    @property
    def health_command(self) -> list[str]:
        """What HEALTHCHECK runs."""
        word, _, text = self.stage.last("HEALTHCHECK").text.partition(" ")
        return Step(word, {}, text).words()

    def files(self, below: str) -> Iterator[tuple[str, str]]:
        """Yield what lies below a folder: path, and a digest of mode and contents."""
        for path in sorted((self.root / below.lstrip("/")).rglob("*")):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                body = str(path.readlink()).encode()
            else:
                body = path.read_bytes() if stat.S_ISREG(mode) else b""
            digest = hashlib.sha256(f"{mode:o}\n".encode() + body).hexdigest()
            yield str(path.relative_to(self.root)), digest


class Kitchen:
    """
    Where the Dockerfile of a clone is carried out.

    Args:
        place: A new folder for the rooms.
        clone: The context of the build.
        has_walls: Whether each RUN has a room of its own; else it runs on this machine as it is,
            with every path of the image moved into the folder.
    """

    def __init__(self, place: Path, clone: Path, *, has_walls: bool = True) -> None:
        self._place = place
        self._clone = clone
        dockerfile = clone / DOCKERFILE
        self._has_walls = has_walls
        self._stages = read_recipe(dockerfile.read_text())
        self._ignored = Ignored(dockerfile.with_name(f"{dockerfile.name}.dockerignore").read_text())
        self._images: dict[str, Image] = {}
        self._secret = place / "pip.conf"
        place.mkdir(parents=True)
        where = "/run/wheels" if has_walls else wheels()
        self._secret.write_text(f"[global]\nno-index = true\nfind-links = {where}\n")

    def cook(self) -> Image:
        """Carry out every stage; returns the last."""
        image: Image | None = None
        for number, stage in enumerate(self._stages):
            image = Image(self._place / f"stage{number}", stage)
            make_room(image.root) if self._has_walls else image.root.mkdir()
            for step in stage.steps:
                self._carry_out(step, image)
            self._images[stage.name] = image
        assert image is not None
        return image

    def _carry_out(self, step: Step, image: Image) -> None:
        known = {**image.arguments, **image.environment}
        match step.word:
            case "ENV":
                image.environment |= Step("", {}, filled_in(step.text, known)).pairs()
            case "ARG":
                image.arguments |= step.pairs()
            case "WORKDIR":
                image.folder = step.text
                (image.root / step.text.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "RUN":
                self._run(step, image)
            case "COPY":
                self._copy(step, image)
            case word:
                kept = {"LABEL", "VOLUME", "EXPOSE", "USER", "STOPSIGNAL"}
                assert word in kept | {"HEALTHCHECK", "ENTRYPOINT", "CMD"}, word

    def _run(self, step: Step, image: Image) -> None:
        mounts: dict[str, Path] = {}
        if "mount" in step.options:
            assert step.options["mount"] == "type=secret,id=pip.conf"
            if self._has_walls:
                mounts = {"/run/secrets/pip.conf": self._secret, "/run/wheels": wheels()}
        holders = [image.root / target.lstrip("/") for target in mounts]
        for holder in holders:
            holder.parent.mkdir(exist_ok=True)
            holder.touch() if holder.suffix else holder.mkdir()
        environment, folder = image.environment, Path("/")
        if self._has_walls:
            stay = Stay(mounts=mounts)
            command = enter(image.root, stay, image.folder, ["sh", "-c", step.text])
        else:
            folder = image.root / image.folder.lstrip("/")
            environment = self._moved_environment(image)
            command = ["/bin/sh", "-c", _moved(step.text, image.root)]
        done = subprocess.run(
            command, cwd=folder, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{step.text}\n{done.stdout}{done.stderr}"
        for holder in holders:
            shutil.rmtree(holder) if holder.is_dir() else holder.unlink()

    def _moved_environment(self, image: Image) -> dict[str, str]:
        """Return the environment of a step without walls: this very Python is the image's."""
        moved = {name: _moved(text, image.root) for name, text in image.environment.items()}
        programs = f"{python_prefix(self._place) / 'bin'}{os.pathsep}{moved['PATH']}"
        return {**moved, "PATH": programs, "PIP_CONFIG_FILE": str(self._secret)}

    def _copy(self, step: Step, image: Image) -> None:
        *sources, target = step.words()
        stage = step.options.get("from")
        origin = self._images[stage].root if stage else self._clone
        place = image.root / (Path(image.folder) / target).relative_to("/")
        assert len(sources) == 1 or target.endswith("/"), step.text
        for source in sources:
            path = origin / source.lstrip("/")
            is_into = target.endswith("/") or target == "." or place.is_dir()
            goal = place / path.name if path.is_file() and is_into else place
            pairs = [(path, goal)] if path.is_file() else _tree(path, goal)
            for each, its_goal in pairs:
                if stage or str(each.relative_to(origin)) not in self._ignored:
                    _put(each, its_goal, step.options.get("chmod"), is_ours=stage is None)
            assert goal.exists(), f"{source} is not in the context"


def wheels() -> Path:
    """Fetch what the locks of the image name, once; returns the folder."""
    locks = [REPOSITORY / "requirements" / f"{name}.txt" for name in ("build", "otel")]
    text = b"".join(lock.read_bytes() for lock in locks) + sys.version.encode()
    folder = WHEELS / hashlib.sha256(text).hexdigest()[:16]
    if not (folder / "ready").exists():
        for lock in locks:
            options = ("--quiet", "--only-binary=:all:", "--require-hashes", f"--dest={folder}")
            command = [sys.executable, "-m", "pip", "download", *options, f"--requirement={lock}"]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"{lock.name} cannot be fetched: {done.stderr.strip()[-200:]}")
        (folder / "ready").touch()
    return folder


def _tree(source: Path, goal: Path) -> Iterator[tuple[Path, Path]]:
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path, goal / path.relative_to(source)


def _put(source: Path, goal: Path, mode: str | None, *, is_ours: bool) -> None:
    """Copy one file; those of the clone as a person has them whose umask is 077."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, goal, follow_symlinks=False)
    if mode:
        goal.chmod(int(mode, 8))
    elif is_ours:
        goal.chmod(source.stat().st_mode & 0o700)


def _moved(text: str, root: Path) -> str:
    return OURS.sub(f"{root}/", text)
