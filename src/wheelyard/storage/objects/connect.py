"""
Connections to S3 and Azure: endpoint and credentials as each platform gives them.

S3: the credentials are keys, a web identity, or the role of a container or an instance, which
obstore finds itself, or a profile of `~/.aws`, which boto3 reads. AWS_REGION has the region, and
AWS_ENDPOINT_URL the URL of another service than Amazon's.

Azure: AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with a key, a SAS, a client
secret, a workload identity, or a managed identity.

obstore strips the slash at the end of a name, so it cannot ask for the object of a folder (`NAME/`,
where s3pypi has its pages), and lists this object like a file. Such an object is read by a client
of its own, whose endpoint is the URL of the object. Azure has no such objects.
"""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import obstore
from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.storage.bucket_reader import BucketObject, BucketReader
from wheelyard.storage.bucket_store import Downloads, download_urls, signing_error
from wheelyard.storage.failures import READ, SIGN, UNLISTED, Failure, FailureKind, unavailable
from wheelyard.storage.forwarding import OperationCounter
from wheelyard.storage.location import AZURE, BucketLocation
from wheelyard.storage.objects import store as object_store
from wheelyard.storage.objects.conditions import ConditionCheck
from wheelyard.storage.objects.store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore import GetOptions, GetResult, ListStream, ObjectMeta


PAGE_ENTRIES: Final = 1000
"""How many objects a page of a listing has."""
HEADERS: Final = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "storage-class",
    }
)
"""Headers of an object, which obstore returns among the custom metadata."""
OWN_SOURCES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Variables with credentials that obstore finds itself. They count more than a profile."""
KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
PROFILE_FILES: Final = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}
TEMPORARY_SECONDS: Final = 240
"""
How long a URL is reused that temporary credentials have signed. The URL ends with the credentials,
which are renewed when five minutes of their life are left.
"""
_SIGNED_BY_AZURE: Final = re.compile(r"[A-Za-z0-9._/+!-]+")
"""Names for which the signature that obstore makes is right."""
PROFILE_SECONDS: Final = 300
"""How long a profile's credentials are kept. boto3 renews them when ten minutes are left."""
DEVELOPMENT: Final = {
    "AccountName": "devstoreaccount1",
    "AccountKey": (
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    ),
    "BlobEndpoint": "http://127.0.0.1:10000/devstoreaccount1",
}
"""The fields that `UseDevelopmentStorage=true` stands for: the public account of the emulator."""

_condition_checks: Final[dict[tuple[str, str], ConditionCheck]] = {}
"""The checks of this process, by bucket and endpoint."""


class ObjectReader(BucketReader):
    """
    Lists and reads the objects below a location, by obstore.

    Args:
        location: The bucket and the prefix.
        config: The arguments of a client of obstore for the bucket.
        base: The URL of the bucket, with a slash at its end.
    """

    def __init__(self, location: BucketLocation, config: Mapping[str, Any], base: str) -> None:
        super().__init__(location)
        self._config = config
        self._base = base
        self._clients = object_store.make_clients(location, config)

    def close(self) -> None:
        """Do nothing: obstore closes the connections of a client that nobody has."""

    def _objects(self) -> Iterator[BucketObject]:
        # The object of a folder is left out, unless nothing is in the folder. obstore lists `NAME/`
        # as `NAME`, so each object waits until the next one shows whether it is in that folder.
        folder = self._location.prefix.rstrip("/") or None
        pages = obstore.list(self._clients.reads, folder, chunk_size=PAGE_ENTRIES)
        waiting_object: BucketObject | None = None
        while page := self._next_page(pages):
            for meta in page:
                if f"{meta['path']}/" == self._location.prefix:
                    continue
                name = meta["path"].removeprefix(self._location.prefix)
                if waiting_object is not None and not name.startswith(f"{waiting_object.name}/"):
                    yield waiting_object
                waiting_object = _bucket_object(name, meta)
        if waiting_object is not None:
            yield waiting_object

    def _find(self, name: str) -> BucketObject:
        clients, object_name = self._clients_for(name)
        response = _get(clients.reads, object_name, {"head": True})
        return _bucket_object(name, response.meta, response.attributes)

    def _read(self, name: str, version: str) -> Iterator[bytes]:
        clients, object_name = self._clients_for(name)
        response = _get(clients.downloads, object_name, {})
        # not by If-Match, which some services refuse; obstore only resumes the same version
        if object_store.version_of(response.meta["e_tag"]) != version:
            raise Failure(FailureKind.ABSENT)
        return object_store.chunks_of(response)

    def _next_page(self, pages: "ListStream[Sequence[ObjectMeta]]") -> "Sequence[ObjectMeta]":
        """Return the next page of a listing, or an empty one at its end."""
        try:
            return object_store.answer_of(next, pages, ())
        except Failure as failure:
            if failure.kind is not FailureKind.BAD_NAME:
                raise
        raise Invalid(
            f"{self} has an object whose name has {UNLISTED}. Choose a prefix without one, or copy "
            "the packages.",
            code="bad_source",
        )

    def _clients_for(self, name: str) -> tuple[object_store.Clients, str]:
        """
        Return the clients for an object, and the name by which they know the object.

        Raises Failure, of the kind ABSENT for the object of a folder on Azure.
        """
        object_name = self._location.name_of(name)
        if not object_name.endswith("/"):
            return self._clients, object_name
        if self._location.scheme == AZURE:
            raise Failure(FailureKind.ABSENT)
        # a client whose endpoint is the object: obstore would strip the slash from its name
        url = self._base + quote(object_name.rstrip("/"))
        config = dict(self._config)
        config["endpoint"] = url
        config["virtual_hosted_style_request"] = True
        return object_store.make_clients(self._location, config), ""


def _get(client: object_store.Client, name: str, options: "GetOptions") -> "GetResult":
    """Return the answer of a client about an object, or raise Failure."""
    return object_store.answer_of(obstore.get, client, name, options=options)


def _bucket_object(
    name: str, meta: "ObjectMeta", attributes: Mapping[str, str] | None = None
) -> BucketObject:
    """Return the metadata of an object, with custom metadata if there are `attributes`."""
    metadata = None
    if attributes is not None:
        metadata = {key: text for key, text in attributes.items() if key.lower() not in HEADERS}
    return BucketObject(
        name=name,
        version=object_store.version_of(meta["e_tag"]),
        size=meta["size"],
        created=meta["last_modified"],
        metadata=metadata,
    )


class _Service(Struct, frozen=True):
    """A service as the environment describes it."""

    config: Mapping[str, Any]
    """The arguments of a client of obstore."""
    endpoint: str
    """The URL of the account. Empty for the service of Amazon."""
    public_base: str
    """The URL of the bucket, with a slash at its end."""
    can_sign: bool = True
    is_temporary: bool = True
    """Whether a signature ends with the credentials that have made it."""


def store_opener(
    location: BucketLocation, runtime: Runtime, counter: OperationCounter
) -> "ObjectStoreOpener":
    """Return an opener of stores. It reads the environment for each bucket."""
    del location
    return ObjectStoreOpener(runtime, counter)


class ObjectStoreOpener(Struct, frozen=True):
    """Opens stores whose requests are counted together."""

    runtime: Runtime
    counter: OperationCounter

    def open_store(
        self, location: BucketLocation, downloads: Downloads, caching: str
    ) -> ObjectStore:
        """
        Return the store at a location, whose objects have `caching` as their Cache-Control.

        Raises Invalid (code `bad_setting`) if the environment lacks something or is malformed, or
        if `downloads` needs signed URLs, and nothing can sign. Raises Unavailable (code
        `storage_credentials`) if there are no credentials.
        """
        service = _service(location)
        clients = object_store.make_clients(location, service.config)
        # one check for all stores of a bucket, also for a store that is opened again
        check_key = (location.root, service.endpoint)
        check = _condition_checks.setdefault(check_key, ConditionCheck())
        signer = ObjectSigner(clients.reads, location) if service.can_sign else None
        longest = TEMPORARY_SECONDS if service.is_temporary else inf
        now = self.runtime.seconds
        urls = download_urls(downloads, service.public_base, signer, now, longest)
        return ObjectStore(
            clients, location, self.runtime, self.counter, check, urls=urls, caching=caching
        )


def open_bucket_reader(location: BucketLocation, runtime: Runtime) -> ObjectReader:
    """
    Return a reader of a bucket that is no store.

    Raises Invalid (code `bad_setting`) if the environment lacks something or is malformed, and
    Unavailable (code `storage_credentials`) if there are no credentials.
    """
    del runtime
    service = _service(location)
    return ObjectReader(location, service.config, service.public_base)


def _service(location: BucketLocation) -> _Service:
    """
    Return the service of a bucket, as the environment describes it.

    Raises Invalid if a variable is malformed or missing, and Unavailable without credentials.
    """
    environ = os.environ  # noqa: TID251 - the variables of these services, as all their tools read them
    prefix = "AZURE_" if location.scheme == AZURE else "AWS_"
    for name, text in environ.items():
        # obstore reads these variables, too, and panics if such a text comes into a header
        if name.startswith(prefix) and not text.isprintable():
            raise Invalid(
                f"{name} has a line break or another control character. Remove it.",
                code="bad_setting",
            )
    if location.scheme == AZURE:
        return _azure(location, environ)
    return _s3(location, environ)


class ObjectSigner(Struct, frozen=True):
    """Signs URLs of downloads, by the credentials of a client."""

    client: object_store.Client
    location: BucketLocation

    def sign(self, name: str, lifetime: timedelta) -> str | None:
        """
        Return the URL of the object `name`, or None if obstore would sign it wrongly.

        Raises Unavailable if signing is denied (code `signing_denied`), or if it fails otherwise
        (code `signing_unavailable`).
        """
        if self.location.scheme == AZURE and not _SIGNED_BY_AZURE.fullmatch(name):
            return None
        try:
            return object_store.answer_of(obstore.sign, self.client, "GET", name, lifetime)
        except Failure as failure:
            reason = unavailable(failure, self.location, SIGN).message
            is_denied = failure.kind is FailureKind.DENIED
            raise signing_error(reason, is_denied=is_denied) from failure


def _s3(location: BucketLocation, environ: Mapping[str, str]) -> _Service:
    """Return the S3 service of the environment. Raises Unavailable without credentials."""
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL", "")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION", "us-east-1")
    config: dict[str, Any] = {"disable_bulk_delete": True, "region": region}
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
        public_base = f"{endpoint.rstrip('/')}/{location.bucket}/"
    elif "." in location.bucket:  # the certificate is for one label before the host
        public_base = f"https://s3.{region}.amazonaws.com/{location.bucket}/"
    else:
        config["virtual_hosted_style_request"] = True
        public_base = f"https://{location.bucket}.s3.{region}.amazonaws.com/"

    # With explicit keys, obstore looks for no other ones: it reads another copy of the environment.
    for name in KEYS:
        if environ.get(name):
            config[name.lower()] = environ[name]
    if not any(environ.get(source) for source in OWN_SOURCES):
        provider = _profile(location, environ)
        if provider is not None:
            config["credential_provider"] = provider
        # the operator says that no service of an instance gives credentials
        elif environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise unavailable(Failure(FailureKind.NO_CREDENTIALS), location, READ)
        metadata_endpoint = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        if metadata_endpoint:
            config["metadata_endpoint"] = metadata_endpoint.rstrip("/")
    is_permanent = environ.get("AWS_ACCESS_KEY_ID") and not environ.get("AWS_SESSION_TOKEN")
    return _Service(config, endpoint, public_base, is_temporary=not is_permanent)


def _profile(location: BucketLocation, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - boto3's
    """
    Return a provider of the credentials of a profile, or None without a profile or without boto3.

    Raises Invalid or Unavailable if AWS_PROFILE names a profile that cannot be read.
    """
    profile = environ.get("AWS_PROFILE")
    if not profile and not _has_profile_file(environ):
        return None
    try:
        from boto3 import Session  # noqa: PLC0415 - large, and only for a profile
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
    except ImportError as error:
        if not profile:
            return None
        raise Invalid(
            "AWS_PROFILE names a profile, and only boto3 can read it. Install boto3, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            code="bad_setting",
        ) from error
    try:
        return Boto3CredentialProvider(Session(), ttl=timedelta(seconds=PROFILE_SECONDS))
    except (BotoCoreError, ValueError):
        if not profile:
            return None
    raise unavailable(Failure(FailureKind.NO_CREDENTIALS), location, READ)


def _has_profile_file(environ: Mapping[str, str]) -> bool:
    """Return whether a file with profiles exists, at its usual path or where a variable says."""
    for variable, usual_path in PROFILE_FILES.items():
        path = Path(environ.get(variable) or usual_path)
        if path.expanduser().is_file():
            return True
    return False


def _azure(location: BucketLocation, environ: Mapping[str, str]) -> _Service:
    """Return the Azure service of the environment. Raises Invalid if no account is named."""
    connection: Mapping[str, str] = {}
    connection_string = environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    if connection_string:
        connection = _connection_fields(connection_string)
    account = connection.get("AccountName") or environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    if not account:
        raise Invalid(
            f"{location.root} is a container of a storage account. Name the account in "
            "AZURE_STORAGE_ACCOUNT_NAME, or set AZURE_STORAGE_CONNECTION_STRING.",
            code="bad_setting",
        )
    config: dict[str, Any] = {"account_name": account}
    key = connection.get("AccountKey") or environ.get("AZURE_STORAGE_ACCOUNT_KEY")
    sas = connection.get("SharedAccessSignature") or environ.get("AZURE_STORAGE_SAS_TOKEN")
    if key:
        config["account_key"] = key
    elif sas:
        config["sas_key"] = sas.removeprefix("?")
    elif identity := _identity_endpoint(environ):
        config["msi_endpoint"] = identity
    endpoint = connection.get("BlobEndpoint") or environ.get("AZURE_STORAGE_ENDPOINT", "")
    suffix = connection.get("EndpointSuffix", "core.windows.net")
    endpoint = endpoint.rstrip("/") or f"https://{account}.blob.{suffix}"
    config["endpoint"] = endpoint
    return _Service(
        config,
        endpoint,
        f"{endpoint}/{location.bucket}/",
        can_sign=bool(key) or not sas,
        is_temporary=False,  # each signature has a key of its own that is valid as long
    )


def _connection_fields(text: str) -> Mapping[str, str]:
    """Return the fields of a connection string, `NAME=VALUE;NAME=VALUE`."""
    fields = {}
    for field in text.strip().strip(";").split(";"):
        # only at the first one, as the value of an account key may end with this character
        name, _, value = field.partition("=")
        fields[name] = value
    if fields.get("UseDevelopmentStorage", "").lower() == "true":
        return DEVELOPMENT
    return fields


def _identity_endpoint(environ: Mapping[str, str]) -> str:
    """
    Return the URL that gives tokens of the managed identity.

    An empty text means the URL of an instance, which obstore knows.
    """
    endpoint = environ.get("IDENTITY_ENDPOINT")  # set in Container Apps and App Service
    if endpoint:
        return endpoint
    host = environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST")
    if not host:
        return ""
    return f"{host.rstrip('/')}/metadata/identity/oauth2/token"
