"""The index on which examples are played: people with each role, and some packages."""

import os
import re
import shutil
from functools import cached_property
from pathlib import Path
from typing import Final

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.index_tables import put_tables_at
from tests.operations.in_memory_index import ALICE
from wheelyard.settings.load import load_settings
from wheelyard.settings.sections import Settings
from wheelyard.wiring.build import open_index

PASSWORD: Final = "s3cret"
TOKEN: Final = "a-static-token-of-many-characters"
"""A token with all rights in all indexes."""
USERS: Final = ("stranger", "reader", "uploader", "manager", "approver", "admin", "leaver")
SETTINGS: Final = """
[server]
public_url = "http://index"

[access]
private = true
cookie_login = true
htpasswd_file = "htpasswd"
htpasswd_may = []
static_tokens_file = "tokens.toml"
"""
TABLES: Final = """
[main]
promote_only = false

[[index]]
name = "dev"

[[index]]
name = "prod"
promote_only = true
promote_from = ["dev"]

[[grant]]
who = ["htpasswd:reader"]
projects = ["demo*"]
actions = ["read"]

[[grant]]
who = ["htpasswd:uploader"]
projects = ["demo*"]
actions = ["upload"]

[[grant]]
who = ["htpasswd:manager"]
projects = ["demo*"]
actions = ["manage"]

[[grant]]
who = ["htpasswd:approver"]
projects = ["demo*"]
actions = ["approve"]

[[grant]]
who = ["htpasswd:admin", "static:root"]
projects = ["*"]
actions = ["admin"]

[[grant]]
index = "*"
who = ["htpasswd:admin", "static:root"]
projects = ["*"]
actions = ["admin"]
"""
WHEEL: Final = make_wheel("demo", "1.0")
SDIST: Final = make_sdist("demo", "1.0")
NEW_WHEEL: Final = make_wheel("demo", "2.0")
PACKAGES: Final = {"main": (WHEEL, SDIST, NEW_WHEEL), "dev": (make_wheel("demo_tool", "1.0"),)}
"""The distributions of each index."""

WRITTEN_BY_READERS: Final = re.compile(
    r"^\.locks/|^derived/|^credentials/sessions/|(^|/)changes\.json$|(^|/)pending/"
)
"""Locks, sessions, what is derived of packages, and the serials that a list of changes gives."""


class World:
    """The settings and the store of a place, each in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.config = folder / "wheelyard.toml"
        self.home = folder / "home"

    @classmethod
    def make(cls, folder: Path) -> "World":
        """Make the folders, with what every example finds there."""
        folder.mkdir()
        world = cls(folder)
        world.home.mkdir()
        (world.home / "index.toml").write_text('[[index]]\nname = "lab"\n')
        (world.home / "wrong.toml").write_text('[[odd]]\nname = "lab"\n')
        world.config.write_text(SETTINGS)
        passwords = folder / "htpasswd"
        passwords.write_text("".join(f"{user}:{SHA}\n" for user in USERS))
        tokens = folder / "tokens.toml"
        tokens.write_text(f'[[token]]\nname = "root"\nvalue = "{TOKEN}"\nprojects = ["*"]\n')
        for file in (passwords, tokens):
            file.chmod(0o600)
        put_tables_at(world.store, TABLES, world.config)
        for index, distributions in PACKAGES.items():
            for made in distributions:
                world.publish(index, made)
        return world

    def copy_to(self, folder: Path) -> "World":
        """Return a copy in another folder."""
        shutil.copytree(self.folder, folder)
        return World(folder)

    @cached_property
    def settings(self) -> Settings:
        """The settings of the file, with the store that is beside it."""
        overrides = {"store": {"location": str(self.store)}}
        return load_settings(file=self.config, overrides=overrides, environ={}).settings

    def publish(self, name: str, made: Distribution) -> None:
        """Publish a distribution in the index of this name."""
        index = open_index(self.settings).named(name)
        index.uploads.accept(made.arrival(self.folder), ALICE)

    def read_objects(self) -> dict[str, bytes]:
        """Return what is stored but for what readers write, by the path of each object."""
        found = dict[str, bytes]()
        for folder, _, files in os.walk(self.store):
            for file in files:
                name = os.path.relpath(f"{folder}/{file}", self.store)
                if not WRITTEN_BY_READERS.search(name):
                    found[name] = (self.store / name).read_bytes()
        return found
