"""ID tokens of CI jobs, which are verified for the issuers of the publishers in force."""

from collections.abc import Callable, Mapping

from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
from wheelyard.authentication.verifiers.signed_jwt import IssuerConfig, verified_claims
from wheelyard.concurrency.runtime import Clock
from wheelyard.model.claim_matchers import Claims
from wheelyard.model.publisher import Publisher, max_lifetime_by_issuer
from wheelyard.model.publisher_claim_rules import ProviderIssuer

MakeKeys = Callable[[str, ProviderIssuer], IssuerKeys]
"""Returns the keys of an issuer with a name, which are fetched when they are first needed."""
_Issuers = Mapping[tuple[str, ProviderIssuer], IssuerConfig]
"""By name and definition, of which the publishers in force have one for each name."""


class JobTokenVerifier:
    """
    Verifies ID tokens of CI jobs.

    Threads may share it. The keys of an issuer are kept while a publisher in force names it.
    """

    def __init__(self, audiences: frozenset[str], make_keys: MakeKeys, seconds: Clock) -> None:
        self._audiences = audiences
        self._make_keys = make_keys
        self._seconds = seconds
        # Threads may set it at once: then some keys are fetched twice. Any value may be the last.
        self._made: tuple[tuple[Publisher, ...], _Issuers] = ((), {})

    def verify(self, id_token: str, publishers: tuple[Publisher, ...]) -> Claims:
        """
        Return the claims of an ID token of an issuer of these publishers.

        Raises CredentialRejected unless it is valid now. Raises Unavailable if the issuer does not
        answer.
        """
        # one attribute, read and written as a whole: no thread gets issuers of other publishers
        made_for, issuers = self._made
        if made_for is not publishers:
            issuers = self._issuers(publishers, issuers)
            self._made = (publishers, issuers)
        configs = {name: config for (name, _), config in issuers.items()}
        return verified_claims(id_token, configs, self._seconds())

    def _issuers(self, publishers: tuple[Publisher, ...], before: _Issuers) -> _Issuers:
        """Return the issuers of these publishers, with the keys of those that were there before."""
        issuers = dict[tuple[str, ProviderIssuer], IssuerConfig]()
        for issuer, lifetime in max_lifetime_by_issuer(publishers).items():
            algorithms = frozenset(issuer.algorithms)
            for name in issuer.names:
                earlier = before.get((name, issuer))
                # with what was fetched: a new publisher costs no other issuer a request
                keys = earlier.keys if earlier else self._make_keys(name, issuer)
                config = IssuerConfig(name, keys, algorithms, self._audiences, lifetime)
                issuers[name, issuer] = config
        return issuers
