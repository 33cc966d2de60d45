"""
Where every object lives: the only module that joins strings into keys.

    wheelyard.json                                       format of this store; never another one
    files/<project>/<sha256>/<filename>                  a distribution, never rewritten
    files/<project>/<sha256>/<filename>.metadata         its core metadata, byte for byte
    journal/<project>/<number>.json                      commit `number`, never rewritten
    projects/<project>.json                              the project's document: commits, folded
    projects.json                                        every project name there ever was
    credentials/tokens/<id>.json                         an API token, as a digest
    credentials/uses/<id>.json                           the day on which it was last used
    credentials/used-id-tokens/<yyyymmddhh>/<digest>.json  an OIDC ID token that was used up

A key that holds a digest or a number is written once. The others are changed by compare-and-swap.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from packaging.utils import NormalizedName

from wheelyard.storage.base import Key

FORMAT = Key("wheelyard.json")
NAMES = Key("projects.json")
FILES = "files/"
PROBE = Key(f"{FILES}probe")
"""Never written: reading it shows whether the bucket of the files exists."""
PROJECTS = "projects/"
JOURNAL = "journal/"
TOKENS = "credentials/tokens/"
USES = "credentials/uses/"
USED_ID_TOKENS = "credentials/used-id-tokens/"

_PROJECT = re.compile(rf"{PROJECTS}([a-z0-9-]+)\.json")
_FILE = re.compile(rf"{FILES}([a-z0-9-]+)/([0-9a-f]{{64}})/([^/]+?)(?:\.metadata)?")
_ENTRY = re.compile(rf"{JOURNAL}[a-z0-9-]+/([0-9]{{10}})\.json")
_USE = re.compile(rf"{USES}([0-9A-Za-z]{{10}})\.json")
_USED_ID_TOKEN = re.compile(rf"{USED_ID_TOKENS}([0-9]{{10}})/[0-9a-f]{{64}}\.json")
_HOUR = "%Y%m%d%H"


def project(name: NormalizedName) -> Key:
    """Return the key of a project's document."""
    return Key(f"{PROJECTS}{name}.json")


def commit(name: NormalizedName, number: int) -> Key:
    """Return the key of a project's commit `number`."""
    return Key(f"{JOURNAL}{name}/{number:010}.json")


def journal(name: NormalizedName) -> str:
    """Return the prefix of a project's commits."""
    return f"{JOURNAL}{name}/"


def distribution(name: NormalizedName, sha256: str, filename: str) -> Key:
    """Return the key of a distribution's bytes; the digest in it makes the object immutable."""
    return Key(f"{FILES}{name}/{sha256}/{filename}")


def core_metadata(name: NormalizedName, sha256: str, filename: str) -> Key:
    """Return the key of a distribution's core metadata; `sha256` is the distribution's."""
    return Key(f"{FILES}{name}/{sha256}/{filename}.metadata")


def probes(prefixes: Sequence[str], unique: str) -> tuple[Key, ...]:
    """Return, for each prefix, the key of a trial write; `unique` is a random text."""
    return tuple(Key(f"{prefix}probe-{unique}") for prefix in prefixes)


def token(token_id: str) -> Key:
    """Return the key of an API token's record."""
    return Key(f"{TOKENS}{token_id}.json")


def last_use(token_id: str) -> Key:
    """Return the key of the day on which an API token was last used."""
    return Key(f"{USES}{token_id}.json")


def used_id_token(expires_at: datetime, digest: str) -> Key:
    """Return the key that says that a statement was used up; it can go after `expires_at`."""
    return Key(f"{USED_ID_TOKENS}{expires_at.astimezone(UTC).strftime(_HOUR)}/{digest}.json")


def project_of(key: Key) -> NormalizedName | None:
    """Return the project that a document is of, None for what we did not write."""
    match = _PROJECT.fullmatch(key)
    return NormalizedName(match[1]) if match else None


@dataclass(frozen=True, slots=True)
class Owner:
    """The file that an object under `files/` belongs to, as its key says."""

    project: str
    sha256: str
    filename: str


def owner_of(key: Key) -> Owner | None:
    """Return the file that an object under `files/` belongs to, None for what we did not write."""
    match = _FILE.fullmatch(key)
    return Owner(*match.groups()) if match else None


def number_of(key: Key) -> int | None:
    """Return the number of a journal entry, None for what we did not write."""
    match = _ENTRY.fullmatch(key)
    return int(match[1]) if match else None


def token_id_of_use(key: Key) -> str | None:
    """Return the id of the token that a last use is of, None for what we did not write."""
    match = _USE.fullmatch(key)
    return match[1] if match else None


def hour_of(key: Key) -> datetime | None:
    """Return the hour in which a used statement expires, None for what we did not write."""
    match = _USED_ID_TOKEN.fullmatch(key)
    try:
        return datetime.strptime(match[1], _HOUR).replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
