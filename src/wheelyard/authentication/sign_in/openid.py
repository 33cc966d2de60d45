"""
Sign-in with OpenID Connect: the code flow with PKCE, the ID token, userinfo, and renewal.

`verifiers/signed_jwt.py` verifies the signature of an ID token, as for Google and for CI jobs. The
rules that OpenID Connect adds (Core 3.1.3.7 and 12.2) are here.
"""

import hashlib
import hmac
import logging
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_plus

from msgspec import Struct

from wheelyard.authentication.sign_in.claims import (
    confirmation_of,
    groups_problem,
    merge_claims,
    needed_claims,
)
from wheelyard.authentication.sign_in.provider import (
    AuthorizationAnswer,
    AuthorizationRequest,
    Confirmation,
    ProviderConfig,
    provider_unavailable,
    untrusted_answer,
)
from wheelyard.authentication.sign_in.provider_requests import (
    TIMEOUT_SECONDS,
    ProviderRequests,
    token_in,
)
from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys, RemoteDocument
from wheelyard.authentication.verifiers.signed_jwt import (
    MAX_JWT_BYTES,
    IssuerConfig,
    verified_claims,
)
from wheelyard.authentication.verifiers.verifier import CredentialRejected, decode_segment
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import quoted
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.json_client import JsonClient
from wheelyard.http_client.urls import BadUrl, parse_url
from wheelyard.model.claim_matchers import Claims

ID_TOKEN_SECONDS: Final = 24 * 3600
"""The longest accepted life of an ID token. It may be long, as the token is used at once."""
ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256"})
"""The accepted signature algorithms of ID tokens, all with public keys."""

logger = logging.getLogger("wheelyard")


class Endpoints(Struct, frozen=True):
    """The used facts of a provider's discovery document (OpenID Connect Discovery 3)."""

    authorization: str
    """The URL of the authorization endpoint."""
    token: str
    """The URL of the token endpoint."""
    userinfo: str
    """The URL of the userinfo endpoint, or an empty text if the provider has none."""
    keys: IssuerKeys
    takes_basic: bool
    """Whether the secret is sent by Basic authentication (RFC 6749, 2.3.1), and not in a form."""
    names_issuer: bool
    """Whether each answer has the parameter `iss` (RFC 9207)."""


class OpenIdProvider:
    """
    A provider of OpenID Connect. The constructor sends no request.

    Threads may share it.
    """

    def __init__(self, config: ProviderConfig, client: JsonClient, runtime: Runtime) -> None:
        self.config = config
        self._client = client
        self._requests = ProviderRequests(config, client)
        self._runtime = runtime
        self._keys_url = ""
        self._keys: IssuerKeys | None = None
        self._logged_problems = set[str]()
        """Problems with groups that this process has logged, so that it logs each problem once."""
        name = f"the discovery document of {config.name}"
        self._document = RemoteDocument(name, self._discover, runtime.monotonic)

    def problem(self) -> str:
        """
        Return why the discovery document of the provider is not had, or an empty text.

        Whether the provider accepts the client is known at the first sign-in only.
        """
        try:
            self._discover()
        except FetchError as fault:
            return fault.why
        return ""

    def authorization_url(self, request: AuthorizationRequest) -> str:
        """Return the URL to which a browser has to go for a sign-in."""
        endpoint = self.endpoints().authorization
        return self._requests.authorization_url(endpoint, request, nonce=request.nonce)

    def redeem(self, answer: AuthorizationAnswer, request: AuthorizationRequest) -> Confirmation:
        """
        Exchange the code of an answer, and return the confirmation of the person.

        Raises Forbidden (code `sign_in_refused`) if the provider refuses, a check fails, or the
        person may not sign in, and Unavailable if the provider does not answer.
        """
        title = self.config.title
        endpoints = self.endpoints()
        # RFC 9207: another provider of the settings may have sent the browser, with its own code
        has_issuer = answer.issuer is not None or endpoints.names_issuer
        if has_issuer and answer.issuer != self.config.issuer:
            raise untrusted_answer(title) from CredentialRejected("answer_iss")
        tokens = self._request_tokens(endpoints, self._requests.exchange_form(answer, request))
        try:
            claims = self._verified_claims(tokens, endpoints)
        except CredentialRejected as rejected:
            raise untrusted_answer(title) from rejected
        # an ID token that was stolen from another browser has another nonce
        if not _is_same(claims.get("nonce"), request.nonce):
            raise untrusted_answer(title) from CredentialRejected("jwt_nonce")
        return self._confirm(claims, tokens, endpoints)

    def renew(self, refresh_token: str, subject: str) -> Confirmation:
        """
        Return a new confirmation of the person who has a refresh token.

        Raises Forbidden (code `sign_in_refused`) if the provider refuses the token, if the token is
        about another person than `subject`, or if the person may not sign in. Raises Unavailable if
        the provider does not answer, or if its ID token cannot be verified.
        """
        endpoints = self.endpoints()
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        tokens = self._request_tokens(endpoints, form)
        claims: Claims = {}
        # a renewal need not bring an ID token (Core 12.2)
        if "id_token" in tokens:
            try:
                claims = self._verified_claims(tokens, endpoints)
            except CredentialRejected as rejected:
                # the provider has not refused the person: a key may just have been replaced
                raise provider_unavailable(self.config.title) from rejected
            if claims.get("sub") != subject:
                raise untrusted_answer(self.config.title) from CredentialRejected("renewed_sub")
        return self._confirm({"sub": subject, **claims}, tokens, endpoints)

    def endpoints(self) -> Endpoints:
        """
        Return the endpoints, from a discovery document that is fetched if it is missing or old.

        Raises Unavailable if the provider does not answer, or if its document does not fit the
        settings.
        """
        # any document is enough
        endpoints = self._document.get(lambda _: True)
        if endpoints is None:
            reason = CredentialRejected("discovery_failed")
            raise provider_unavailable(self.config.title) from reason
        return endpoints

    def _discover(self) -> Endpoints:
        """
        Fetch the discovery document, and return its endpoints.

        Raises FetchError if the document cannot be fetched, or does not fit the settings.
        """
        issuer = self.config.issuer
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._client.fetch(url, timeout=TIMEOUT_SECONDS).document()
        if document.get("issuer") != issuer:
            # exactly equal, as an issuer must not answer for another issuer of its host
            named = quoted(document.get("issuer"))
            raise FetchError(f"it is of the issuer {named}. Write that in the settings, if it is")

        takes_basic = _takes_basic(document)
        keys_url = self._url_in(document, "jwks_uri")

        # fetched keys are kept as long as their URL does not change
        if self._keys is None or self._keys_url != keys_url:
            monotonic = self._runtime.monotonic
            self._keys = IssuerKeys(issuer, ALGORITHMS, self._client, monotonic, keys_url)
            self._keys_url = keys_url
        authorization = self._url_in(document, "authorization_endpoint")
        token = self._url_in(document, "token_endpoint")
        userinfo = ""
        if "userinfo_endpoint" in document:
            userinfo = self._url_in(document, "userinfo_endpoint")
        return Endpoints(
            authorization=authorization,
            token=token,
            userinfo=userinfo,
            keys=self._keys,
            takes_basic=takes_basic,
            names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _url_in(self, document: Mapping[str, object], name: str) -> str:
        """
        Return the URL in a field of the document.

        The URL may have another host than the issuer, as Google and others have several hosts.
        Raises FetchError if the field has no URL, or a URL that is less safe than the issuer.
        """
        url = document.get(name)
        if isinstance(url, str) and self._is_safe_url(url):
            return url
        raise FetchError(f"its {name} is no https URL")

    def _is_safe_url(self, text: str) -> bool:
        """Return whether a text is a URL without a login, and with TLS if the issuer has TLS."""
        if not text.isascii() or not text.isprintable() or " " in text:
            return False
        try:
            url = parse_url(text)
        except BadUrl:
            return False
        # an operator may write an issuer without TLS into the settings
        is_plain_allowed = self.config.issuer.startswith("http://")
        return url.login is None and (url.is_secure or is_plain_allowed)

    def _request_tokens(
        self, endpoints: Endpoints, form: Mapping[str, str]
    ) -> Mapping[str, object]:
        """
        Send a form to the token endpoint, and return the answer.

        Raises Forbidden if the provider refuses the request, and Unavailable for any other error.
        """
        config = self.config
        authorization = ""
        if endpoints.takes_basic:
            # each half is encoded as in a form (RFC 6749, 2.3.1), as a secret may have a colon
            login = f"{quote_plus(config.client_id)}:{quote_plus(config.secret)}"
            authorization = f"Basic {b64encode(login.encode()).decode()}"
        else:
            form = {**form, "client_id": config.client_id, "client_secret": config.secret}
        return self._requests.ask(endpoints.token, authorization, form)

    def _verified_claims(self, tokens: Mapping[str, object], endpoints: Endpoints) -> Claims:
        """Return the verified claims of the ID token in an answer, or raise CredentialRejected."""
        config = self.config
        token = tokens.get("id_token")
        if not isinstance(token, str):
            raise CredentialRejected("id_token_missing")
        issuer = IssuerConfig(
            name=config.issuer,
            keys=endpoints.keys,
            algorithms=ALGORITHMS,
            audiences=frozenset({config.client_id}),
            lifetime=ID_TOKEN_SECONDS,
            max_bytes=MAX_JWT_BYTES,
            lists_audience=True,
        )
        claims = verified_claims(token, {config.issuer: issuer}, self._runtime.seconds())

        # Core 3.1.3.7: `azp` names the client that has got the token, which must be this client
        if claims.get("azp", config.client_id) != config.client_id:
            raise CredentialRejected("jwt_azp")
        if "at_hash" in claims:
            header, _, _ = token.partition(".")
            algorithm = str(decode_segment(header)["alg"])
            access_token = str(tokens.get("access_token", ""))
            expected_hash = _access_token_hash(access_token, algorithm)
            if not _is_same(claims["at_hash"], expected_hash):
                raise CredentialRejected("jwt_at_hash")
        return claims

    def _confirm(
        self, claims: Claims, tokens: Mapping[str, object], endpoints: Endpoints
    ) -> Confirmation:
        """
        Return the confirmation of a person by the claims of an ID token.

        Claims that the ID token lacks are fetched from userinfo. Raises Forbidden if the person may
        not sign in, and Unavailable if the provider does not answer.
        """
        lacks_claims = not needed_claims(self.config) <= claims.keys()
        if lacks_claims and endpoints.userinfo:
            userinfo = self._fetch_userinfo(claims["sub"], tokens, endpoints.userinfo)
            claims = merge_claims(claims, userinfo)
        # two threads may log one problem, which does no harm
        problem = groups_problem(claims, self.config)
        if problem and problem not in self._logged_problems:
            self._logged_problems.add(problem)
            logger.warning("%s: %s", self.config.name, problem)
        return confirmation_of(claims, self.config, token_in(tokens, "refresh_token"))

    def _fetch_userinfo(self, subject: object, tokens: Mapping[str, object], url: str) -> Claims:
        """
        Return the claims of userinfo about a person (OpenID Connect Core 5.3).

        Raises Forbidden if the provider refuses the access token, or if the claims are about
        another person, and Unavailable for any other error.
        """
        access_token = token_in(tokens, "access_token")
        if not access_token:
            reason = CredentialRejected("access_token_missing")
            raise provider_unavailable(self.config.title) from reason
        claims = self._requests.ask(url, f"Bearer {access_token}")
        # Core 5.3.2: userinfo may be about another person
        if claims.get("sub") != subject:
            raise untrusted_answer(self.config.title) from CredentialRejected("userinfo_sub")
        return claims


def _takes_basic(document: Mapping[str, object]) -> bool:
    """
    Return whether a provider takes the secret of the client by Basic authentication.

    Raises FetchError if the provider takes it neither so nor in a form.
    """
    # the default of the field (Discovery 3)
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if not isinstance(methods, list):
        methods = []
    takes_basic = "client_secret_basic" in methods
    if not takes_basic and "client_secret_post" not in methods:
        raise FetchError("it takes no secret of a client")
    return takes_basic


def _is_same(received: object, expected: str) -> bool:
    """Return whether a claim is the expected text, compared in constant time."""
    # `compare_digest` raises an error for texts that are not ASCII
    if not isinstance(received, str) or not received.isascii():
        return False
    return hmac.compare_digest(received, expected)


def _access_token_hash(token: str, algorithm: str) -> str:
    """Return the `at_hash` of an access token: the first half of its digest (Core 3.1.3.6)."""
    # RS256 and PS256 go with SHA-256, RS384 with SHA-384, and so on
    hash_name = f"sha{algorithm[2:]}"
    digest = hashlib.new(hash_name, token.encode(errors="replace")).digest()
    first_half = digest[: len(digest) // 2]
    return urlsafe_b64encode(first_half).decode().rstrip("=")
