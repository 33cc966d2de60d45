"""
Runs a page of `docs/migration/` as its reader would: writes its files and types its commands.

A block of ```toml or ```python begins with a comment that names the file it is. A block of
```console is typed line by line, those of one heading at a time. What a page calls by a name of
its own, a folder or a host, stands for something of the test.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.json import decode

from tests.clients.harness import REPOSITORY, Sandbox, new_sandbox, pip_of, program, wheelyard
from tests.clients.projects import Built, sha256
from tests.clients.servers import Server, make_token, serving
from tests.forking import forking_program
from wheelyard.model.project_json import FileJson, ProjectJson

PAGES = REPOSITORY / "docs" / "migration"
HOST = "packages.example.com"
"""The host name of the new index in all pages."""
SETTINGS = "/etc/wheelyard"
"""The folder of settings in all pages."""

_URL = re.compile(rf"https://((?:\$\([^)]*\)|[^\s/@])*@)?{re.escape(HOST)}")
_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"# (\S+?)(?:, .*)?\n")


@dataclass
class GuideRunner:
    """A page, and the one who follows it."""

    name: str
    sandbox: Sandbox
    """The sandbox of the commands; `dist/` has the releases to publish."""
    stands_for: dict[str, str] = field(default_factory=dict)
    """Names in the page and their replacements."""
    environment: dict[str, str] = field(default_factory=dict)
    """Further environment variables."""

    @property
    def base(self) -> Path:
        """The folder of the new index."""
        return self.sandbox.folder.parent / "new"

    @property
    def store(self) -> Path:
        """The store of the new index."""
        return self.base / "store"

    @property
    def settings(self) -> Path:
        """The folder of the page's files."""
        return self.sandbox.folder / "etc"

    def section(self, heading: str) -> str:
        """Return what stands below a heading."""
        text = (PAGES / f"{self.name}.md").read_text()
        (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
        return str(section)

    def write(self, heading: str) -> None:
        """Write the files of a section."""
        self.settings.mkdir(exist_ok=True)
        for kind, body in _BLOCK.findall(self.section(heading)):
            named = _NAMED.match(body)
            if kind in ("toml", "python") and named:
                (self.settings / Path(named[1]).name).write_text(self.here(body))

    def type(self, heading: str, **environment: str) -> str:
        """Write the files of a section and type its commands; returns what they print."""
        self.write(heading)
        everything = self._everything() | environment
        blocks = [body for kind, body in _BLOCK.findall(self.section(heading)) if kind == "console"]
        written = [line.strip() for block in blocks for line in block.splitlines()]
        lines = [line.removeprefix("$ ") for line in written if line.startswith("$ ")]
        assert lines, f"there is nothing to type below {heading}"
        return "".join(
            self.sandbox.run("/bin/sh", "-ec", self.here(line), **everything) for line in lines
        )

    def wheelyard(self, *arguments: str | Path) -> str:
        """Run the product's command line on the new index."""
        return wheelyard(self.sandbox, *arguments, "--store", self.store)

    def files(self, project: str) -> dict[str, FileJson]:
        """Return the files of a project in the new index."""
        output = self.wheelyard("list", project, "--json")
        files = decode(output, type=ProjectJson).files
        return {file.filename: file for file in files}

    @contextmanager
    def serving(self, *options: str, **environment: str) -> Iterator[Server]:
        """Run the new index with the files of the page; from now on its name stands for it."""
        files = {"--config": "wheelyard.toml", "--apply": "index.toml"}
        config = [
            word
            for option, name in files.items()
            for word in (option, str(self.settings / name))
            if (self.settings / name).exists()
        ]
        token = make_token(self.sandbox, "--store", self.store)
        place = ("--store", str(self.store), *config, *options)
        # the fake GCS server is at 127.0.0.1: as in production, its host has another name
        with serving(new_sandbox(self.base), environment, *place, host="localhost") as address:
            self.stands_for[HOST] = address
            yield Server(address, token, self.store, private=False)

    def here(self, text: str) -> str:
        """Return a text of the page as it has to be here."""
        replaced = {SETTINGS: str(self.settings), **self.stands_for}
        if HOST in replaced:
            text = _URL.sub(lambda found: f"http://{found[1] or ''}{replaced[HOST]}", text)
        names = sorted(replaced, key=len, reverse=True)
        pattern = "|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w-])" for name in names)
        return re.sub(pattern, lambda found: replaced[found[0]], text)

    def _everything(self) -> dict[str, str]:
        return {
            "PATH": os.pathsep.join((str(self._programs()), self.sandbox.environment()["PATH"])),
            "PYTHONPATH": str(REPOSITORY / "src"),
            "WHEELYARD_STORE": str(self.store),
            **self.environment,
        }

    def add_program(self, name: str, script: str) -> None:
        """Let the page call a program."""
        path = self._programs() / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def _programs(self) -> Path:
        """Return the folder of the programs that pages call."""
        folder = self.sandbox.folder / "bin"
        if not folder.exists():
            folder.mkdir()
            python = self.sandbox.folder / "venv" / "bin" / "python"
            self.add_program("wheelyard", f'exec {forking_program()} "$@"')
            self.add_program("pip", f'exec {" ".join(map(str, pip_of(python)))} "$@"')
            self.add_program("twine", f'exec {program("twine")} "$@"')
            self.add_program("python3", f'exec {sys.executable} "$@"')
        return folder


def digests(*built: Built) -> dict[str, str]:
    """Return the SHA-256 of every file that was built."""
    return {file.name: sha256(file) for each in built for file in (each.wheel, each.sdist)}
