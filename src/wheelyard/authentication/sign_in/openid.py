"""
OpenID Connect: the authorization code flow with PKCE, its ID token, userinfo, and renewal.

PyJWT verifies the signature of an ID token, as for Google and for CI jobs. The rules that OpenID
Connect adds (Core 3.1.3.7 and 12.2) are here.
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
    completed,
    confirmation_of,
    groups_problem,
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
"""The longest life of an ID token, which is used at once."""
ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256"})
"""Signature algorithms of ID tokens: those with public keys."""

logger = logging.getLogger("wheelyard")


class Endpoints(Struct, frozen=True):
    """What is used of a provider's discovery document (OpenID Connect Discovery 3)."""

    authorization: str
    token: str
    userinfo: str
    """Empty if there is none."""
    keys: IssuerKeys
    takes_basic: bool
    """Whether the secret of the client is sent as a password (RFC 6749, 2.3.1), or in the form."""
    names_issuer: bool
    """Whether each answer has the parameter `iss` (RFC 9207)."""


class OpenIdProvider:
    """
    A provider of OpenID Connect, which is asked only when it is needed.

    Threads may share it.
    """

    def __init__(self, config: ProviderConfig, client: JsonClient, runtime: Runtime) -> None:
        self.config = config
        self._client = client
        self._requests = ProviderRequests(config, client)
        self._runtime = runtime
        self._keys_url = ""
        self._keys: IssuerKeys | None = None
        self._logged = set[str]()
        """Problems with groups that this process has logged: each once, and not at each renewal."""
        name = f"the discovery document of {config.name}"
        self._document = RemoteDocument(name, self._discover, runtime.monotonic)

    def problem(self) -> str:
        """Return why the provider cannot be used as the settings say, or an empty text."""
        try:
            self._discover()
        except FetchError as fault:
            return fault.why
        return ""

    def authorization_url(self, request: AuthorizationRequest) -> str:
        """Return where a browser has to go to sign in."""
        endpoint = self.endpoints().authorization
        return self._requests.authorization_url(endpoint, request, nonce=request.nonce)

    def redeem(self, answer: AuthorizationAnswer, request: AuthorizationRequest) -> Confirmation:
        """
        Return who has signed in, by the answer that belongs to a request.

        Raises Forbidden (code `sign_in_refused`) if that is nobody who may, and Unavailable if the
        provider does not answer.
        """
        title = self.config.title
        endpoints = self.endpoints()
        # RFC 9207: another provider of ours may have sent the browser here, with its own code
        is_named = answer.issuer is not None
        if (is_named or endpoints.names_issuer) and answer.issuer != self.config.issuer:
            raise untrusted_answer(title) from CredentialRejected("answer_iss")
        tokens = self._tokens(endpoints, self._requests.exchange_form(answer, request))
        try:
            claims = self._verified(tokens, endpoints)
        except CredentialRejected as rejected:
            raise untrusted_answer(title) from rejected
        # else an ID token that was stolen elsewhere would sign somebody in with this browser
        if not _is_same(claims.get("nonce"), request.nonce):
            raise untrusted_answer(title) from CredentialRejected("jwt_nonce")
        return self._confirmation(claims, tokens, endpoints)

    def renew(self, refresh_token: str, subject: str) -> Confirmation:
        """
        Return who the person is now, whose refresh token it is.

        Raises Forbidden (code `sign_in_refused`) if the provider refuses it, if it is about
        somebody else than `subject`, or about nobody who may sign in. Raises Unavailable if the
        provider does not answer, or its ID token cannot be verified.
        """
        endpoints = self.endpoints()
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        tokens = self._tokens(endpoints, form)
        claims: Claims = {}
        # a renewal need not bring an ID token (Core 12.2)
        if "id_token" in tokens:
            try:
                claims = self._verified(tokens, endpoints)
            except CredentialRejected as rejected:
                # it has not refused the person: a key may just have been replaced
                raise provider_unavailable(self.config.title) from rejected
            if claims.get("sub") != subject:
                raise untrusted_answer(self.config.title) from CredentialRejected("renewed_sub")
        return self._confirmation({"sub": subject, **claims}, tokens, endpoints)

    def endpoints(self) -> Endpoints:
        """
        Return the endpoints, fetched if that is due.

        Raises Unavailable if the provider does not answer, or not as the settings say.
        """
        endpoints = self._document.get(lambda _: True)
        if endpoints is None:
            reason = CredentialRejected("discovery_failed")
            raise provider_unavailable(self.config.title) from reason
        return endpoints

    def _discover(self) -> Endpoints:
        """Return the endpoints in the discovery document of now, or raise FetchError."""
        issuer = self.config.issuer
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        document = self._client.fetch(url, timeout=TIMEOUT_SECONDS).document()
        if document.get("issuer") != issuer:
            # exactly: of two issuers of one host, one must not answer for the other
            named = quoted(document.get("issuer"))
            raise FetchError(f"it is of the issuer {named}. Write that in the settings, if it is")

        # without the field it is the first one (Discovery 3)
        methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if not isinstance(methods, list):
            methods = []
        takes_basic = "client_secret_basic" in methods
        if not takes_basic and "client_secret_post" not in methods:
            raise FetchError("it takes no secret of a client")
        keys_url = self._url_in(document, "jwks_uri")

        # keys that were fetched stay as long as the URL does
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
        """Return a URL of the document, or raise FetchError if it is not as safe as the issuer."""
        url = document.get(name)
        try:
            # not of the same origin: Google and others have several hosts
            if isinstance(url, str) and url.isascii() and url.isprintable() and " " not in url:
                target = parse_url(url)
                # plain HTTP only where the operator has written an issuer with it
                is_plain = self.config.issuer.startswith("http://")
                if target.login is None and (target.is_secure or is_plain):
                    return url
        except BadUrl:
            pass
        raise FetchError(f"its {name} is no https URL")

    def _tokens(self, endpoints: Endpoints, form: Mapping[str, str]) -> Mapping[str, object]:
        """
        Return the answer of the token endpoint.

        Raises Forbidden if it refuses what was sent, and Unavailable for any other error.
        """
        config = self.config
        login = ""
        if endpoints.takes_basic:
            # each half is encoded as in a form (RFC 6749, 2.3.1), as a secret may have a colon
            pair = f"{quote_plus(config.client_id)}:{quote_plus(config.secret)}"
            login = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form = {**form, "client_id": config.client_id, "client_secret": config.secret}
        return self._requests.ask(endpoints.token, login, form)

    def _verified(self, tokens: Mapping[str, object], endpoints: Endpoints) -> Claims:
        """Return the claims of the ID token, or raise CredentialRejected."""
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

        # Core 3.1.3.7: a token for us that another client has got is not one for this sign-in
        if claims.get("azp", config.client_id) != config.client_id:
            raise CredentialRejected("jwt_azp")
        if "at_hash" in claims:
            algorithm = str(decode_segment(token.partition(".")[0])["alg"])
            expected = _half_hash(str(tokens.get("access_token", "")), algorithm)
            if not _is_same(claims["at_hash"], expected):
                raise CredentialRejected("jwt_at_hash")
        return claims

    def _confirmation(
        self, claims: Claims, tokens: Mapping[str, object], endpoints: Endpoints
    ) -> Confirmation:
        """
        Return the person of an ID token, with what it lacks from userinfo.

        Raises Forbidden if that is nobody who may sign in.
        """
        needed = needed_claims(self.config)
        if not needed <= claims.keys() and endpoints.userinfo:
            userinfo = self._userinfo(claims["sub"], tokens, endpoints.userinfo)
            claims = completed(claims, userinfo)
        # two threads may log it both, which does no harm
        problem = groups_problem(claims, self.config)
        if problem and problem not in self._logged:
            self._logged.add(problem)
            logger.warning("%s: %s", self.config.name, problem)
        return confirmation_of(claims, self.config, token_in(tokens, "refresh_token"))

    def _userinfo(self, subject: object, tokens: Mapping[str, object], url: str) -> Claims:
        """Return what the provider says of the person (OpenID Connect Core 5.3)."""
        access_token = token_in(tokens, "access_token")
        if not access_token:
            reason = CredentialRejected("access_token_missing")
            raise provider_unavailable(self.config.title) from reason
        claims = self._requests.ask(url, f"Bearer {access_token}")
        if claims.get("sub") != subject:  # Core 5.3.2: it may be about somebody else
            raise untrusted_answer(self.config.title) from CredentialRejected("userinfo_sub")
        return claims


def _is_same(received: object, expected: str) -> bool:
    """Return whether a claim is this text, compared in constant time."""
    # the comparison takes no other text than ASCII
    if not isinstance(received, str) or not received.isascii():
        return False
    return hmac.compare_digest(received, expected)


def _half_hash(token: str, algorithm: str) -> str:
    """Return what `at_hash` has to be for an access token (Core 3.1.3.6)."""
    # RS256 and PS256 go with SHA-256, RS384 with SHA-384, and so on
    digest = hashlib.new(f"sha{algorithm[2:]}", token.encode(errors="replace")).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")
