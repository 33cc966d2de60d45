"""
Opens a bucket: finds the credentials, the endpoint, and who can sign.

Google's library looks for Application Default Credentials itself: the file that
GOOGLE_APPLICATION_CREDENTIALS names, what gcloud has left, or the metadata server; and with
STORAGE_EMULATOR_HOST it goes to an emulator, as nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final, Literal

import google.auth
import requests
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from requests.adapters import HTTPAdapter

from wheelyard.errors import Invalid
from wheelyard.storage.base import Store
from wheelyard.storage.cloud.counting import Counter
from wheelyard.storage.cloud.faults import no_credentials
from wheelyard.storage.cloud.foreign import ForeignBucket
from wheelyard.storage.cloud.identity import email_of
from wheelyard.storage.cloud.location import BucketLocation
from wheelyard.storage.cloud.retrying import Breaker, Pacing
from wheelyard.storage.cloud.signers import UrlSigner, signer_of
from wheelyard.storage.cloud.signing import object_path
from wheelyard.storage.cloud.store import CloudStore, Links, Unchanging
from wheelyard.storage.split import SplitStore
from wheelyard.storage.tally import Tally

CONNECTIONS: Final = 160
"""Connections to the bucket that are kept open, at most."""
FOR_EVER: Final = "max-age=31536000, immutable"

Downloads = Literal["auto", "redirect", "proxy", "public"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a bucket's store needs of the world."""

    now: Callable[[], float]
    """Seconds since the epoch."""
    monotonic: Callable[[], float]
    """Seconds since some moment."""
    pause: Callable[[float], None]
    random: Random
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which bucket is to be opened, and how its files go to clients."""

    place: BucketLocation
    files_prefix: str
    """Of the keys of files: large, and never changed."""
    files_place: BucketLocation | None = None
    """Where these are, if they have a bucket of their own."""
    downloads: Downloads = "auto"


@dataclass(frozen=True, slots=True)
class OpenBucket:
    """A bucket that is open."""

    store: Store
    credentials: Any

    @property
    def identity(self) -> str | None:
        """Whose credentials these are, if they tell; a service account's may after first use."""
        return email_of(self.credentials)


@dataclass(frozen=True, slots=True)
class PublicLinks:
    """Plain URLs of a bucket that anyone may read."""

    endpoint: str

    def url(self, bucket: str, name: str, method: str, lifetime: timedelta) -> str:
        """Return the URL of an object."""
        del method, lifetime
        return self.endpoint + object_path(bucket, name)


def open_foreign(place: BucketLocation, surroundings: Surroundings) -> ForeignBucket:
    """
    Open a bucket of somebody else's layout, to read what is in it; nothing is asked of it yet.

    Raises:
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    client = _connected(place, surroundings.tally)
    return ForeignBucket(client, place, _pacing(surroundings))


def open_bucket(request: Request, surroundings: Surroundings) -> OpenBucket:
    """
    Open a bucket; nothing is asked of it yet.

    Raises:
        Invalid: Redirects were asked for, and nothing here can sign (code `bad_setting`).
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    client = _connected(request.place, surroundings.tally)
    links = _links(request.downloads, client, surroundings)
    pacing = _pacing(surroundings)
    scope = "public" if request.downloads == "public" else "private"
    unchanging = Unchanging(prefix=request.files_prefix, cache_control=f"{scope}, {FOR_EVER}")
    store: Store = CloudStore(client, request.place, pacing, links, unchanging)
    if request.files_place is not None:
        apart = CloudStore(client, request.files_place, pacing, links, unchanging)
        store = SplitStore(store, apart, request.files_prefix)
    return OpenBucket(store, _credentials(client))


def _pacing(surroundings: Surroundings) -> Pacing:
    return Pacing(
        surroundings.monotonic,
        surroundings.pause,
        surroundings.random,
        Breaker(surroundings.monotonic),
    )


def _connected(place: BucketLocation, tally: Tally) -> Client:
    client = _client_or_none()
    if not isinstance(client, Client):  # not chained: what was raised may quote a whole key file
        raise no_credentials(place, is_file=client)
    # it would ask for the bucket's own metadata, which needs a right that nobody has to have
    client._bucket_metadata_cache = None  # noqa: SLF001 - the other way is a variable of the process
    session = client._http  # noqa: SLF001 - the library's one session, made by its own rules
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=CONNECTIONS))
    session.hooks["response"] += [Counter(tally), _read_refusal]
    return client


def _read_refusal(response: requests.Response, **options: object) -> None:
    """Read a refusal to its end: of a 401 the library forgets the answer, and the connection."""
    del options
    if not response.ok:
        _ = response.content


def _client_or_none() -> Client | bool:
    """Return a client, or whether there is a file that should have made one."""
    try:
        return _client()
    except (auth.GoogleAuthError, ValueError, OSError, AttributeError, TypeError) as error:
        # the last two are what the library says of a key file that is JSON, and no key
        return "default credentials were not found" not in str(error)


def _client() -> Client:
    client = Client(project=None)
    endpoint = client.api_endpoint.rstrip("/")
    endpoint = endpoint if "://" in endpoint else f"http://{endpoint}"  # many emulators are told so
    if endpoint == client.api_endpoint:
        return client
    options = {"api_endpoint": endpoint}
    return Client(project=None, credentials=_credentials(client), client_options=options)


def _links(downloads: Downloads, client: Client, surroundings: Surroundings) -> Links | None:
    if downloads == "proxy":
        return None
    if downloads == "public":
        return PublicLinks(client.api_endpoint)
    credentials = _credentials(client)
    if isinstance(credentials, AnonymousCredentials) and downloads == "redirect":
        credentials = _credentials_beside_an_emulator(credentials)
    signer = signer_of(credentials, pause=surroundings.pause, random=surroundings.random)
    if signer is None and downloads == "redirect":
        raise Invalid(
            "[store] downloads: these credentials cannot sign a URL to redirect to. Use those of a "
            'service account, or downloads = "proxy".',
            code="bad_setting",
        )
    return None if signer is None else UrlSigner(signer, surroundings.now, client.api_endpoint)


def _credentials(client: Client) -> Any:  # noqa: ANN401 - each kind is a class of its own
    return client._credentials  # noqa: SLF001 - found by the library, and nowhere else to be had


def _credentials_beside_an_emulator(none: Any) -> Any:  # noqa: ANN401 - as above
    """Return the credentials that would be used if there were no emulator."""
    try:
        credentials, _ = google.auth.default()
    except auth.GoogleAuthError:
        return none
    return credentials
