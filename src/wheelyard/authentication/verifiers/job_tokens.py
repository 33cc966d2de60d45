"""Verification of ID tokens of CI jobs, by the issuers of the publishers in force."""

from collections.abc import Callable, Mapping

from wheelyard.authentication.verifiers.issuer_keys import IssuerKeys
from wheelyard.authentication.verifiers.signed_jwt import IssuerConfig, verified_claims
from wheelyard.concurrency.runtime import Clock
from wheelyard.model.claim_matchers import Claims
from wheelyard.model.publisher import Publisher, max_lifetime_by_issuer
from wheelyard.model.publisher_claim_rules import ProviderIssuer

MakeKeys = Callable[[str, ProviderIssuer], IssuerKeys]
"""Returns the keys of an issuer, by its name and definition. They are fetched when first needed."""
_Issuers = Mapping[tuple[str, ProviderIssuer], IssuerConfig]
"""Issuers by name and definition. The publishers in force have one definition for each name."""


class JobTokenVerifier:
    """
    Verifies ID tokens of CI jobs.

    Threads may share it. The keys of an issuer are kept while a publisher in force names it.
    """

    def __init__(self, audiences: frozenset[str], make_keys: MakeKeys, seconds: Clock) -> None:
        self._audiences = audiences
        self._make_keys = make_keys
        self._seconds = seconds
        # Two threads may set this at once: then some keys are fetched twice, and either value is
        # right. It is one attribute, so that no thread gets the issuers of other publishers.
        self._publishers_and_issuers: tuple[tuple[Publisher, ...], _Issuers] = ((), {})

    def verify(self, id_token: str, publishers: tuple[Publisher, ...]) -> Claims:
        """
        Return the claims of an ID token of an issuer of these publishers.

        Raises CredentialRejected unless the ID token is valid now. Raises Unavailable if the issuer
        does not answer.
        """
        earlier_publishers, issuers = self._publishers_and_issuers
        if publishers is not earlier_publishers:
            issuers = self._make_issuers(publishers, issuers)
            self._publishers_and_issuers = (publishers, issuers)
        config_by_name = {name: config for (name, _), config in issuers.items()}
        return verified_claims(id_token, config_by_name, self._seconds())

    def _make_issuers(
        self, publishers: tuple[Publisher, ...], earlier_issuers: _Issuers
    ) -> _Issuers:
        """
        Return the issuers of these publishers.

        An issuer that is among the earlier issuers keeps its fetched keys, so that a new publisher
        causes no request for the keys of other issuers.
        """
        issuers = dict[tuple[str, ProviderIssuer], IssuerConfig]()
        for issuer, lifetime in max_lifetime_by_issuer(publishers).items():
            algorithms = frozenset(issuer.algorithms)
            for name in issuer.names:
                earlier_config = earlier_issuers.get((name, issuer))
                if earlier_config is None:
                    keys = self._make_keys(name, issuer)
                else:
                    keys = earlier_config.keys
                config = IssuerConfig(name, keys, algorithms, self._audiences, lifetime)
                issuers[name, issuer] = config
        return issuers
