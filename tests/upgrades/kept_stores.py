"""
Stores that released versions have made, and what has to be seen in them.

`python -m tools.store_fixture` writes both into `stores/`, named after the version that ran it:
`0.1.0.tar.gz` has the objects of the store, and `0.1.0.json` what its version answered. Those of a
released version never change.

`removed.tar.gz` is of no release: it has one of each feature that was removed before the first one.
Commit e94b31aa made it, under the settings of `removed.toml`.
"""

import gzip
import io
import tarfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, json

from tests.fake_time import START
from tests.http.in_process import InProcessServer, in_process
from wheelyard.catalog.removed import REMOVED_RULES
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.base import Key, Store
from wheelyard.storage.memory import MemoryStore

FOLDER: Final = Path(__file__).parent / "stores"
SIMPLE_JSON: Final = "application/vnd.pypi.simple.v1+json"
SETTINGS: Final = Settings(
    access=AccessSettings(private=True),
    upstream=UpstreamSettings(
        enabled=True,
        url="https://public.example/simple/",
        label="public",
        private=("team-*",),
        file_hosts=("files.example",),
        offline=True,
    ),
)
"""The settings under which the stores are made and asked."""


class KeptAnswers(Struct, kw_only=True, frozen=True):
    """What the version that made a store has answered."""

    tokens: dict[str, str]
    """The API tokens by their names. They open nothing but this store."""
    answers: dict[str, Any]
    """The JSON by its path, as the token `admin` gets it."""
    files: dict[str, str]
    """The SHA-256 of what a path sends."""


class KeptStore(Struct, frozen=True):
    """A store of a version."""

    version: str
    objects: Mapping[str, bytes]
    seen: KeptAnswers

    def in_memory(self) -> MemoryStore:
        """Return the store in memory, written at the moment at which it was made."""
        store = MemoryStore(START.timestamp)
        for key, body in self.objects.items():
            store.put(Key(key), body, None)
        return store

    def in_folder(self, folder: Path) -> Path:
        """Write the store into a folder, as a copy of all its files is, and return the folder."""
        for key, body in self.objects.items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return folder

    def save(self) -> Path:
        """Write both files, equal contents as equal bytes, and return the archive."""
        FOLDER.mkdir(exist_ok=True)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for key, body in sorted(self.objects.items()):
                member = tarfile.TarInfo(key)
                member.size, member.mtime = len(body), int(START.timestamp())
                archive.addfile(member, io.BytesIO(body))
        path = FOLDER / f"{self.version}.tar.gz"
        path.write_bytes(gzip.compress(out.getvalue(), mtime=0))
        text = json.format(json.encode(self.seen, order="sorted"), indent=1)
        (FOLDER / f"{self.version}.json").write_bytes(text + b"\n")
        return path


def kept_versions() -> list[str]:
    """Return the released versions of which a store is kept."""
    return sorted(path.name.removesuffix(".tar.gz") for path in FOLDER.glob("[0-9]*.tar.gz"))


def read_kept_store(version: str) -> KeptStore:
    """Return the store of a version."""
    objects = dict[str, bytes]()
    with tarfile.open(FOLDER / f"{version}.tar.gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            objects[member.name] = content.read()
    seen = json.decode((FOLDER / f"{version}.json").read_bytes(), type=KeptAnswers)
    return KeptStore(version, objects, seen)


def answers_of_this_version(
    folder: Path, store: Store, seen: KeptAnswers, settings: Settings = SETTINGS
) -> KeptAnswers:
    """Return what this version answers to what another one was asked about its store."""
    with in_process(folder, settings, store=store) as server:
        return KeptAnswers(
            tokens={name: token for name, token in seen.tokens.items() if _is_valid(server, token)},
            answers={path: _answer(server, path, seen) for path in seen.answers},
            files={path: sha256(_get(server, path, seen)).hexdigest() for path in seen.files},
        )


def _is_valid(server: InProcessServer, token: str) -> bool:
    answer = server.get("/api/v1/whoami", ("Authorization", f"Bearer {token}"))
    return answer.status == 200


def _answer(server: InProcessServer, path: str, seen: KeptAnswers) -> Any:  # noqa: ANN401 - any JSON
    return json.decode(_get(server, path, seen, SIMPLE_JSON if "/simple/" in path else "*/*"))


def _get(server: InProcessServer, path: str, seen: KeptAnswers, accept: str = "*/*") -> bytes:
    bearer = f"Bearer {seen.tokens['admin']}"
    answer = server.get(path, ("Authorization", bearer), ("Accept", accept))
    assert answer.status == 200, (path, answer.status, answer.body)
    return answer.body


VARYING: Final = {"api-version", "_last-serial", "source"}
"""
Fields that may differ with version and time.

Those of the Simple API say nothing of a project. `source` was the settings or the store, and is the
file that has made something.
"""
REMOVED: Final = frozenset(
    {"approved-for", *REMOVED_RULES, "by_installer", "installers", "not_sent", "source"}
)
"""Fields of features that were removed before the first release, and one that may be empty now."""


def missing(wanted: Any, answer: Any, place: str = "") -> list[str]:  # noqa: ANN401 - any JSON
    """
    Return where an answer lacks what is wanted.

    A newer version may say more in objects, and may know more of what an administrator can do.
    """
    if isinstance(wanted, dict) and isinstance(answer, dict):
        lost = [f"{place}/{name}" for name in wanted.keys() - answer.keys() - REMOVED]
        for name in wanted.keys() & answer.keys() - VARYING:
            lost += missing(wanted[name], answer[name], f"{place}/{name}")
        return lost
    if place.endswith("/can") and "admin" in wanted:
        return [f"{place}/{word}" for word in wanted if word not in answer]
    if isinstance(wanted, list) and isinstance(answer, list) and len(wanted) == len(answer):
        pairs = enumerate(zip(wanted, answer, strict=True))
        return [fault for at, pair in pairs for fault in missing(*pair, f"{place}/{at}")]
    return [] if wanted == answer else [f"{place}: {answer!r}, not {wanted!r}"]
