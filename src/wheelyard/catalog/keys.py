"""
The object layout of a store: no module but `removed.py` builds or parses other keys.

    wheelyard.json                                         format of the store
    files/<project>/<sha256>/<filename>                    a distribution
    files/<project>/<sha256>/<filename>.metadata           its core metadata, byte for byte
    files/<project>/<sha256>/<filename>.<digest>.<suffix>  any other sidecar, by its own SHA-256
    journal/<project>/<number>.json                        commit `number`
    projects/<project>.json                                the project's document: folded commits
    projects.json                                          all project names
    pending/<project>.<number>.<id>                        commit `number`, perhaps to be made
    changes.json                                           the newest changes of all projects
    changes/<serial>.json                                  older ones, up to this serial
    index-list.json                                        the indexes that commands have made
    index-list/<number>.json                               change `number` of this list
    indexes/<index>/...                                    documents of another index: same keys
    clock.json                                             written to learn the store's time
    leases/<job>.json                                      which process does a job
    derived/search-6.msgpack.gz                            facts of all projects, for searches
    derived/descriptions/<renderer>/<digest>.json          the HTML of a description
    derived/variants/<project>/<sha256>.json               wheel variants that an older page links
    derived/copied.json                                    the state of the last copy to this store
    decisions.json                                         decisions about upstream packages
    decisions/<number>.json                                change `number` of the decisions
    requests.json                                          who asked for hidden public packages
    webhooks/<name>.json                                   how far deliveries of a webhook are
    downloads/months/<yyyy-mm>.json.gz                     counts of downloads in a month
    downloads/new/<process>.<number>.json                  counts that are in no month yet
    upstream/<id>/files/<project>/<sha256>/<filename>      a file of an upstream index
    upstream/<id>/files/.../<filename>.provenance          its provenance, whose digest none says
    upstream/<id>/uses/<project>/<sha256>/<filename>       written on each day of use of a file
    upstream/<id>/digests/<project>.json                   digests of files that its page lacks
    upstream/<id>/digests/<project>/<filename>.json        the digest of one file, when fetched
    upstream/<id>/pages/<project>.json.gz                  a project's page of an upstream index
    upstream/owners/<project>/<chain>.json                 which index of a chain has a name
    upstream/licences.json                                 which releases have a blocked licence
    upstream/first-uses.json                               when `cooldown_allow` was first used
    upstream/osv.json.gz                                   the last accepted advisories
    credentials/access.json                                grants and groups of the store
    credentials/access/<number>.json                       change `number` of grants and groups
    credentials/publishers.json                            trusted publishers of the store
    credentials/publishers/<number>.json                   change `number` of the publishers
    credentials/namespaces.json                            who owns which namespaces
    credentials/namespaces/<number>.json                   change `number` of the namespaces
    credentials/webhooks.json                              webhooks of the store
    credentials/webhooks/<number>.json                     change `number` of the webhooks
    credentials/webhook-secrets/<name>.json                the sealed secret of a webhook
    credentials/tokens/<id>.json                           an API token's record, with its digest
    credentials/uses/<id>.json                             the day of the token's last use
    credentials/used-id-tokens/<yyyymmddhh>/<digest>.json  a used OIDC ID token, by expiry
    credentials/people/<provider>/<id>.json                a person of a provider, by `Person.id`
    credentials/person-names/<provider>/<digest>.json      who had a name first
    credentials/sessions/key.json                          the secret key that signs sessions
    credentials/sessions/ended/<yyyymmddhh>/<id>.json      a session that was signed out, by expiry

Files are shared by all indexes of a store. A lease is never deleted.

The bytes at a key with a digest or a number never change. The other objects are changed by
compare-and-swap. The objects below `derived/` are made from the other objects, and may be deleted
any time. Their keys name their form, so that a version with another form has another object. The
objects below `upstream/` can be fetched again. `<id>` is the id of an upstream index.
"""

import re
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.api_token import TOKEN_ID
from wheelyard.model.index_name import FORMER_MAIN, MAIN
from wheelyard.model.person import PROVIDER_NAME
from wheelyard.model.project import METADATA_SUFFIX, File
from wheelyard.storage.base import Key

FORMAT = Key("wheelyard.json")
PROJECT_NAMES = Key("projects.json")
FILES = "files/"
PROBE = Key(f"{FILES}probe")
"""A key that is never written: a read of it shows whether the bucket of the files exists."""
PROJECTS = "projects/"
JOURNAL = "journal/"
PENDING = "pending/"
CHANGES = Key("changes.json")
SEALED_CHANGES = "changes/"
INDEX_LIST = Key("index-list.json")
INDEX_LIST_JOURNAL = "index-list/"
INDEXES = "indexes/"
FORMER_MAIN_FOLDER = f"{INDEXES}{MAIN}/"
"""The folder of an index that an earlier version has made with the name that main has now."""
CLOCK = Key("clock.json")
LEASES = "leases/"
DERIVED = "derived/"
SEARCH = Key(f"{DERIVED}search-6.msgpack.gz")
COPIED = Key(f"{DERIVED}copied.json")
DESCRIPTIONS = f"{DERIVED}descriptions/"
KEPT_VARIANTS = f"{DERIVED}variants/"
DECISIONS = Key("decisions.json")
DECISIONS_JOURNAL = "decisions/"
PACKAGE_REQUESTS = Key("requests.json")
WEBHOOK_STATES = "webhooks/"
DOWNLOADS = "downloads/"
MONTHS_OF_DOWNLOADS = f"{DOWNLOADS}months/"
NEW_DOWNLOADS = f"{DOWNLOADS}new/"
UPSTREAM = "upstream/"
UPSTREAM_FILES = "files/"
UPSTREAM_USES = "uses/"
UPSTREAM_DIGESTS = "digests/"
UPSTREAM_PAGES = "pages/"
UPSTREAM_OWNERS = f"{UPSTREAM}owners/"
UPSTREAM_LICENCES = Key(f"{UPSTREAM}licences.json")
UPSTREAM_FIRST_USES = Key(f"{UPSTREAM}first-uses.json")
UPSTREAM_ADVISORIES = Key(f"{UPSTREAM}osv.json.gz")
CREDENTIALS = "credentials/"
ACCESS = Key("credentials/access.json")
ACCESS_JOURNAL = "credentials/access/"
PUBLISHERS = Key("credentials/publishers.json")
PUBLISHERS_JOURNAL = "credentials/publishers/"
NAMESPACES = Key("credentials/namespaces.json")
NAMESPACES_JOURNAL = "credentials/namespaces/"
WEBHOOKS = Key("credentials/webhooks.json")
WEBHOOKS_JOURNAL = "credentials/webhooks/"
WEBHOOK_SECRETS = "credentials/webhook-secrets/"
TOKENS = "credentials/tokens/"
LAST_USES = "credentials/uses/"
USED_ID_TOKENS = "credentials/used-id-tokens/"
PEOPLE = "credentials/people/"
PERSON_NAMES = "credentials/person-names/"
SESSIONS = "credentials/sessions/"
SESSION_KEY = Key("credentials/sessions/key.json")
ENDED_SESSIONS = "credentials/sessions/ended/"

REFETCHABLE: Final = re.compile(
    rf"(?:{INDEXES}[^/]+/)?{UPSTREAM}[^/]+/(?:{UPSTREAM_FILES}|{UPSTREAM_USES}|{UPSTREAM_PAGES})"
)
"""
The keys of objects that upstream indexes have, too.

A file has to have its size, and other objects their digest.
"""

# Objects that a person, a backup or a tool has put into the store match none of these patterns, but
# by chance. Listings leave them out.
_INDEX = re.compile(rf"{INDEXES}[^/]+/")
_PROJECT = re.compile(rf"{PROJECTS}([a-z0-9-]+)\.json")
_FILE = re.compile(
    rf"{FILES}([a-z0-9-]+)/([0-9a-f]{{64}})/([^/]+?)"
    r"(?:\.metadata|\.provenance|\.[0-9a-f]{64}\.[^/]+)?"
)
_PENDING_MARK = re.compile(rf"{PENDING}([a-z0-9-]+)\.([0-9]{{10}})\.[0-9a-f]{{16}}")
_UPSTREAM_PAGE = re.compile(rf"{UPSTREAM_PAGES}([a-z0-9-]+)\.json\.gz")
_UPSTREAM_OWNER = re.compile(rf"{UPSTREAM_OWNERS}([a-z0-9-]+)/([a-z0-9]+)\.json")
_MONTH_OF_DOWNLOADS = re.compile(rf"{MONTHS_OF_DOWNLOADS}([0-9]{{4}}-(?:0[1-9]|1[0-2]))\.json\.gz")
_NEW_DOWNLOADS = re.compile(rf"{NEW_DOWNLOADS}([0-9a-f]{{16}})\.([0-9]{{10}})\.json")
_NUMBERED = re.compile(r"([0-9]{10})\.json")
_USE = re.compile(rf"{LAST_USES}({TOKEN_ID})\.json")
_USED_ID_TOKEN = re.compile(rf"{USED_ID_TOKENS}([0-9]{{10}})/[0-9a-f]{{64}}\.json")
_ENDED_SESSION = re.compile(rf"{ENDED_SESSIONS}([0-9]{{10}})/[0-9a-f]{{32}}\.json")
_PERSON = re.compile(rf"{PEOPLE}{PROVIDER_NAME}/[0-9a-f]{{32}}\.json")
_PERSON_NAME = re.compile(rf"{PERSON_NAMES}{PROVIDER_NAME}/[0-9a-f]{{64}}\.json")
_HOUR = "%Y%m%d%H"


def project(name: NormalizedName) -> Key:
    """Return the key of a project's document."""
    return Key(f"{PROJECTS}{name}.json")


def journal(name: NormalizedName) -> str:
    """Return the prefix of the keys of a project's commits."""
    return f"{JOURNAL}{name}/"


def commit(name: NormalizedName, number: int) -> Key:
    """Return the key of a commit in the journal of a project."""
    return numbered_entry(journal(name), number)


def pending_mark(name: NormalizedName, number: int, unique: str) -> Key:
    """Return the key of a mark that a commit may be made, with 16 random hexadecimal digits."""
    # one folder for all projects: it is listed by one call, and a new mark makes no folder
    return Key(f"{pending_marks(name)}{number:010}.{unique}")


def pending_marks(name: NormalizedName) -> str:
    """Return the prefix of the keys of the marks of a project."""
    return f"{PENDING}{name}."


def sealed_changes(serial: int) -> Key:
    """Return the key of the sealed changes whose last entry has this serial."""
    return numbered_entry(SEALED_CHANGES, serial)


def lease(job: str) -> Key:
    """Return the key of the lease of a job."""
    return Key(f"{LEASES}{job}.json")


def index_folder(name: str) -> str:
    """Return the prefix of the keys of an index, which is empty for main."""
    if name == MAIN:
        return ""
    if name == FORMER_MAIN:
        return FORMER_MAIN_FOLDER
    return f"{INDEXES}{name}/"


def index_prefix(key: Key) -> str | None:
    """Return the prefix of the index that has this key, or None for main."""
    match = _INDEX.match(key)
    if match is None:
        return None
    return match[0]


def index_in(prefix: str) -> str:
    """Return the name of the index whose keys have this prefix."""
    if not prefix:
        return MAIN
    # the folder is called main, which is now the name of the index at the root
    if prefix == FORMER_MAIN_FOLDER:
        return FORMER_MAIN
    return prefix.removeprefix(INDEXES).removesuffix("/")


def after_index(prefix: str) -> str:
    """Return the least text that is greater than any key below the prefix of an index."""
    return f"{prefix[:-1]}0"  # the character after the slash


def files_of(name: NormalizedName) -> str:
    """Return the prefix of the keys of a project's distributions and their core metadata."""
    return f"{FILES}{name}/"


def files_with_digest(name: NormalizedName, sha256: str) -> str:
    """Return the prefix of the keys of a project's distributions that have this digest."""
    return f"{files_of(name)}{sha256}/"


def distribution(name: NormalizedName, sha256: str, filename: str) -> Key:
    """Return the key of a distribution's bytes, which never change: `sha256` is their digest."""
    return Key(f"{FILES}{name}/{sha256}/{filename}")


def core_metadata(name: NormalizedName, sha256: str, filename: str) -> Key:
    """Return the key of the core metadata of the distribution with this digest."""
    return Key(f"{FILES}{name}/{sha256}/{filename}.metadata")


def upstream_provenance(name: NormalizedName, sha256: str, filename: str) -> Key:
    """Return the key of the provenance of a public distribution, whose digest no page has."""
    return Key(f"{FILES}{name}/{sha256}/{filename}.provenance")


def sidecar(name: NormalizedName, file: File, suffix: str) -> Key:
    """Return the key of the sidecar of a distribution that is listed with this suffix."""
    if suffix == METADATA_SUFFIX:
        return core_metadata(name, file.sha256, file.filename)
    # with its own digest, as it may be replaced, and the bytes at a key never change
    return Key(f"{FILES}{name}/{file.sha256}/{file.filename}.{file.sidecars[suffix]}.{suffix}")


def probe(prefix: str, unique: str) -> Key:
    """Return a key for a trial write below a prefix, with a random text."""
    return Key(f"{prefix}probe-{unique}")


def numbered_entry(prefix: str, number: int) -> Key:
    """Return the key of the change `number` of the document whose journal has this prefix."""
    # ten digits, so that a listing, which sorts keys as texts, has them in the order of numbers
    return Key(f"{prefix}{number:010}.json")


def webhook_state(name: str) -> Key:
    """Return the key of the state of a webhook's deliveries."""
    return Key(f"{WEBHOOK_STATES}{name}.json")


def webhook_secret(name: str) -> Key:
    """Return the key of the sealed secret of a webhook."""
    return Key(f"{WEBHOOK_SECRETS}{name}.json")


def description(renderer: str, digest: str) -> Key:
    """Return the key of the result of a renderer for a description."""
    return Key(f"{DESCRIPTIONS}{renderer}/{digest}.json")


def kept_variants(name: NormalizedName, sha256: str) -> Key:
    """Return the key of a document about wheel variants that a page has linked to."""
    # by digest, as many releases have the same document, which is written once
    return Key(f"{all_kept_variants(name)}{sha256}.json")


def all_kept_variants(name: NormalizedName) -> str:
    """Return the prefix of the documents about wheel variants of a project."""
    return f"{KEPT_VARIANTS}{name}/"


class DownloadBatch(Struct, frozen=True):
    """Counts of downloads that a process has written."""

    process: str
    """The id of the process: 16 random hexadecimal digits."""
    number: int
    """The number of the batch in its process."""

    @property
    def key(self) -> Key:
        """The key of the batch."""
        return Key(f"{NEW_DOWNLOADS}{self.process}.{self.number:010}.json")


def parse_download_batch(key: Key) -> DownloadBatch | None:
    """Return the batch of counts at a key, or None for any other key."""
    match = _NEW_DOWNLOADS.fullmatch(key)
    if match is None:
        return None
    return DownloadBatch(match[1], int(match[2]))


def downloads_of_month(month: str) -> Key:
    """Return the key of the counts of downloads in a month, such as `2026-01`."""
    return Key(f"{MONTHS_OF_DOWNLOADS}{month}.json.gz")


def parse_month_of_downloads(key: Key) -> str | None:
    """Return the month whose counts have this key, or None for any other key."""
    match = _MONTH_OF_DOWNLOADS.fullmatch(key)
    if match is None:
        return None
    return match[1]


def upstream(upstream_id: str) -> str:
    """Return the prefix of the keys of an upstream index."""
    return f"{UPSTREAM}{upstream_id}/"


def upstream_use(name: NormalizedName, sha256: str, filename: str) -> Key:
    """Return the key, below `upstream`, of the note that a file of an upstream index is used."""
    return Key(f"{UPSTREAM_USES}{name}/{sha256}/{filename}")


def upstream_digests(name: NormalizedName) -> Key:
    """Return the key, below `upstream`, of the digests of a project whose pages have none."""
    return Key(f"{UPSTREAM_DIGESTS}{name}.json")


def upstream_digest(name: NormalizedName, filename: str) -> Key:
    """Return the key, below `upstream`, of the digest of a file whose page has none."""
    return Key(f"{upstream_digest_folder(name)}{filename}.json")


def upstream_digest_folder(name: NormalizedName) -> str:
    """Return the prefix of the keys of `upstream_digest` of a project."""
    return f"{UPSTREAM_DIGESTS}{name}/"


def upstream_page(upstream_id: str, name: NormalizedName) -> Key:
    """Return the key of the page of a project of an upstream index."""
    return Key(f"{upstream(upstream_id)}{UPSTREAM_PAGES}{name}.json.gz")


def project_of_upstream_page(key: Key) -> NormalizedName | None:
    """Return the project whose page has this key below `upstream`, or None for any other key."""
    match = _UPSTREAM_PAGE.fullmatch(key)
    if match is None:
        return None
    return NormalizedName(match[1])


def upstream_owners(name: NormalizedName) -> str:
    """Return the prefix of the keys of `upstream_owner` of a project."""
    return f"{UPSTREAM_OWNERS}{name}/"


def upstream_owner(name: NormalizedName, chain: str) -> Key:
    """Return the key of the document with the upstream index of a chain that owns a name."""
    return Key(f"{upstream_owners(name)}{chain}.json")


def parse_upstream_owner(key: Key) -> tuple[NormalizedName, str] | None:
    """Return the project and the chain in a key of `upstream_owner`, or None for any other key."""
    match = _UPSTREAM_OWNER.fullmatch(key)
    if match is None:
        return None
    return NormalizedName(match[1]), match[2]


def token(token_id: str) -> Key:
    """Return the key of an API token's record."""
    return Key(f"{TOKENS}{token_id}.json")


def last_use(token_id: str) -> Key:
    """Return the key of the day on which an API token was last used."""
    return Key(f"{LAST_USES}{token_id}.json")


def person(provider: str, person_id: str) -> Key:
    """Return the key of the record of a person."""
    return Key(f"{PEOPLE}{provider}/{person_id}.json")


def person_name(provider: str, digest: str) -> Key:
    """Return the key of the claim of a name, by the SHA-256 of the name."""
    # a provider's names may have any characters, and keys may not
    return Key(f"{PERSON_NAMES}{provider}/{digest}.json")


def is_person(key: Key) -> bool:
    """Return whether a key can be that of the record of a person."""
    return _PERSON.fullmatch(key) is not None


def is_person_name(key: Key) -> bool:
    """Return whether a key can be that of the claim of a name."""
    return _PERSON_NAME.fullmatch(key) is not None


def used_id_token(expires_at: datetime, digest: str) -> Key:
    """Return the key of the record of a used ID token, by its `digest_of`."""
    return Key(f"{USED_ID_TOKENS}{_hour_of(expires_at)}/{digest}.json")


def ended_session(expires_at: datetime, session_id: str) -> Key:
    """Return the key of the record that a session was signed out before it expired."""
    return Key(f"{ENDED_SESSIONS}{_hour_of(expires_at)}/{session_id}.json")


def _hour_of(expires_at: datetime) -> str:
    """Return the hour of an expiry as keys have it, in UTC."""
    return expires_at.astimezone(UTC).strftime(_HOUR)


def is_project_name(text: str) -> bool:
    """Return whether a text of a stored list can be the name of a project."""
    return project_of(Key(f"{PROJECTS}{text}.json")) == text


def project_of(key: Key) -> NormalizedName | None:
    """Return the project whose document has this key, or None for any other key."""
    match = _PROJECT.fullmatch(key)
    if match is None:
        return None
    return NormalizedName(match[1])


class PendingMark(Struct, frozen=True):
    """A mark, and the commit that it is about."""

    key: Key
    project: NormalizedName
    number: int
    """The number of the commit."""
    size: int
    """The size of the mark in bytes, which is 0 unless the mark has commits of another store."""


def parse_pending_mark(key: Key, size: int = 0) -> PendingMark | None:
    """Return the mark at a key, or None for any other key."""
    match = _PENDING_MARK.fullmatch(key)
    if match is None:
        return None
    return PendingMark(key, NormalizedName(match[1]), int(match[2]), size)


class FileKey(Struct, frozen=True):
    """The parts of the key of a distribution, which the keys of its sidecars have, too."""

    project: str
    sha256: str
    filename: str


def parse_file_key(key: Key) -> FileKey | None:
    """Return the parts of the key of a distribution or a sidecar, or None for any other key."""
    match = _FILE.fullmatch(key)
    if match is None:
        return None
    return FileKey(project=match[1], sha256=match[2], filename=match[3])


def entry_number(prefix: str, key: Key) -> int | None:
    """Return the number in the key of `numbered_entry`, or None for any other key."""
    if not key.startswith(prefix):
        return None
    match = _NUMBERED.fullmatch(key.removeprefix(prefix))
    if match is None:
        return None
    return int(match[1])


def token_id_of_use(key: Key) -> str | None:
    """Return the token id in the key of a token's last use, or None for any other key."""
    match = _USE.fullmatch(key)
    if match is None:
        return None
    return match[1]


def expiry_hour(key: Key) -> datetime | None:
    """
    Return when the expiry hour in the key of a used ID token or an ended session begins.

    Return None for any other key.
    """
    match = _USED_ID_TOKEN.fullmatch(key) or _ENDED_SESSION.fullmatch(key)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], _HOUR).replace(tzinfo=UTC)
    except ValueError:  # ten digits that are no hour, so wheelyard has not written this key
        return None
