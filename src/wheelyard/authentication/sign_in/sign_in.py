"""Signing in with providers: from the button to the record of a person, and sessions after it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from math import ceil
from threading import BoundedSemaphore, Thread
from typing import Final

from msgspec import Struct

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.confirmation import ConfirmationNeeded
from wheelyard.authentication.rejections import RejectionLog, rejection_reason
from wheelyard.authentication.sign_in.attempts import Attempts
from wheelyard.authentication.sign_in.confirmed_people import ConfirmedPeople
from wheelyard.authentication.sign_in.provider import AuthorizationAnswer, Provider
from wheelyard.authentication.verifiers.login_rate_limit import (
    AT_PROVIDER,
    NETWORK_SIGN_IN,
    LoginRateLimit,
    address_key,
    network_of,
)
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import RATE_LIMITED, NotFound, Unavailable, WheelyardError
from wheelyard.model.access import Identity
from wheelyard.model.api_token import Session, SessionId
from wheelyard.model.person import Person
from wheelyard.operations.publishing_cleanup import PublishingCleanup

MAX_UNCONFIRMED: Final = timedelta(hours=1)
"""The age of a confirmation from which a session does not count."""
REMOVED_AT_ONCE: Final = 100
"""How many records of used states a sign-in removes, once they have expired."""
MAX_RENEWALS: Final = 8
"""Renewals in the background at a time. More wait for the next request of their person."""
WAIT_SECONDS: Final = 15.0
"""How long a request waits for a renewal by another process."""
POLL_SECONDS: Final = 0.5
"""The pause between two looks at the record, while another process renews the person."""
RETRY_SECONDS: Final = 30.0
"""How long a process does not wait again for a person who was not confirmed in time."""


class SignedIn(Struct, frozen=True):
    """Somebody who has just signed in."""

    person: Person
    next: str
    """The path of the page to return to, or empty."""
    session: SessionId | None
    """The session that the browser had before."""
    seconds: int
    """How long a session lasts at most."""


class Renewals:
    """
    Renews the confirmations of people: in the background, or while a request waits.

    Threads may share it. `start` runs a function in a thread of its own.
    """

    def __init__(
        self,
        people: ConfirmedPeople,
        providers: Mapping[str, Provider],
        runtime: Runtime,
        start: Callable[[Callable[[], None]], None],
    ) -> None:
        self._people = people
        self._providers = providers
        self._runtime = runtime
        self._start = start
        self._slots = BoundedSemaphore(MAX_RENEWALS)
        self._failed = ExpiringCache[str, bool](runtime.monotonic, 10_000)

    def begin(self, person: Person) -> None:
        """Renew a person in the background, unless too many renewals are under way."""
        # `_run` releases it, in its own thread
        if self._slots.acquire(blocking=False):
            try:
                self._start(partial(self._run, person))
            except RuntimeError:  # no more threads: the next request tries again
                self._slots.release()

    def wait_for(self, person: Person) -> None:
        """
        Renew a person, or wait until another process has done so, for some seconds at most.

        Returns at once if a person could not be confirmed a moment ago.
        Raises Unavailable if the store does not answer.
        """
        if self._failed.get(_key(person)) is not None:
            return
        provider = self._providers[person.provider]
        until = self._runtime.monotonic() + WAIT_SECONDS
        # another process may have the lease: its result comes by the record
        while True:
            is_asked = self._people.renew(provider, person.id)
            current = self._people.records.get_current(person.provider, person.id).value
            # the provider knows them no more, or has taken the right to renew away
            if current is None or not self._people.refresh_token_of(current):
                return
            if self._runtime.now() - current.confirmed_at < MAX_UNCONFIRMED:
                return
            # the provider did not answer, or the process with the lease takes too long
            if is_asked or self._runtime.monotonic() >= until:
                self._failed.put(_key(person), True, RETRY_SECONDS)  # noqa: FBT003 - a value
                return
            self._runtime.pause(POLL_SECONDS)

    def _run(self, person: Person) -> None:
        """Renew a person, in a thread that nobody waits for."""
        try:
            # nobody is there to get an error; the next request of the person tries again
            with suppress(WheelyardError):
                self._people.renew(self._providers[person.provider], person.id)
        finally:
            self._slots.release()


def _key(person: Person) -> str:
    return f"{person.provider}:{person.id}"


def in_thread(work: Callable[[], None]) -> None:
    """
    Run `work` in a thread of its own.

    It is no daemon thread, as it has to write a new refresh token. A server that stops ends it all
    the same, and then the person signs in again.
    """
    Thread(target=work, name="renew").start()


class SignIn(Struct, frozen=True, kw_only=True):
    """
    Signs people in with the providers of the settings.

    Threads may share it.
    """

    providers: Mapping[str, Provider]
    attempts: Attempts
    people: ConfirmedPeople
    renewals: Renewals
    rate_limit: LoginRateLimit
    rejection_log: RejectionLog
    cleanup: PublishingCleanup
    runtime: Runtime

    def provider(self, name: str) -> Provider:
        """
        Return a provider by its name.

        Raises NotFound if there is none.
        """
        provider = self.providers.get(name)
        if provider is None:
            raise NotFound("There is no provider of this name here. Sign in with another one.")
        return provider

    def begin(
        self, name: str, browser: str, next_path: str, session: SessionId | None = None
    ) -> str:
        """
        Return the URL of a provider where somebody signs in.

        `browser` is the text in the cookie of the browser, which may have a `session`. May wait for
        the provider. Raises NotFound if there is no provider of this name, and Unavailable if the
        provider or the store does not answer.
        """
        provider = self.provider(name)
        request = self.attempts.begin(provider.config.name, browser, next_path, session)
        try:
            return provider.authorization_url(request)
        except Unavailable as fault:
            self._log(provider, fault, "-")
            raise

    def finish(
        self, name: str, browser: str, state: str, answer: AuthorizationAnswer, address: str
    ) -> SignedIn:
        """
        Return who has signed in at a provider, which has sent the browser back with an answer.

        Waits for the provider, and writes the record of the person. `browser` is the text in the
        cookie of the browser. An attempt counts for the rate limit of the network of `address` at
        this provider, until it succeeds. Failures are logged. Some used ID tokens and sign-ins that
        have expired are removed.

        Raises NotFound if there is no provider of this name. Raises Invalid (code
        `sign_in_expired`) if the answer belongs to no sign-in of this browser. Raises Forbidden
        (code `sign_in_refused`) if that is nobody who may sign in, and Conflict (code `name_taken`)
        if somebody else had the name first. Raises Unavailable (code `rate_limited`) after too many
        attempts, and if the provider or the store does not answer.
        """
        provider = self.provider(name)
        network = network_of(address)

        # counted first: many may come before the provider has answered one
        provider_key = f"{AT_PROVIDER}:{name}:{network}"
        wait_at_provider = self.rate_limit.count_attempt(provider_key)
        # only looked at: the authenticator counts the sign-ins of a network
        network_key = address_key(address, NETWORK_SIGN_IN)
        wait_of_network = self.rate_limit.seconds_until((network_key,))
        wait = max(wait_at_provider, wait_of_network)
        if wait:
            self.rejection_log.log("sign_in_rate", network)
            raise Unavailable(
                "There were too many sign-ins.", code=RATE_LIMITED, retry_after=ceil(wait)
            )
        try:
            attempt = self.attempts.find(name, browser, state)
            confirmation = provider.redeem(answer, attempt.request)
            # the first write, once the provider has taken the code: an invented one writes nothing
            self.attempts.use(attempt)
            person = self.people.sign_in(provider, confirmation)
        except WheelyardError as fault:
            self._log(provider, fault, network)
            raise
        self.rate_limit.give_back(provider_key)

        # the person has signed in, whatever fails here: a later sign-in, or the sweep, does it
        with suppress(WheelyardError):
            self.cleanup.run(REMOVED_AT_ONCE)
        seconds = self._session_seconds(provider, person)
        return SignedIn(person, attempt.next, attempt.session, seconds)

    def present(self, session: Session) -> tuple[str, Identity]:
        """
        Return a session's evidence as of now, and the person whom it identifies.

        Renews the person in the background if that is due. Raises ConfirmationNeeded if that has to
        be done first, and Unauthenticated if the session does not hold. Raises Unavailable if the
        store does not answer.
        """
        name, _, person_id = session.subject.partition(":")
        provider = self.providers.get(name)
        if provider is None:
            raise invalid_credential()
        person = self.people.records.get(name, person_id).value
        if person is None or person.ended_at is not None:
            raise invalid_credential()
        age = self.runtime.now() - person.confirmed_at
        if age >= timedelta(seconds=provider.config.renew_seconds):
            can_renew = bool(self.people.refresh_token_of(person))
            # the caller waits in a pool of threads of this provider, and not here
            if age >= MAX_UNCONFIRMED and can_renew:
                confirm = partial(self.renewals.wait_for, person)
                raise ConfirmationNeeded(name, provider.config.title, confirm)
            if age >= MAX_UNCONFIRMED:
                raise invalid_credential()
            if can_renew:
                self.renewals.begin(person)
        return self.evidence(person), Identity(person.principal, person.principals)

    def evidence(self, person: Person) -> str:
        """Return what has to be unchanged for a session: the provider's client, and no ending."""
        config = self.providers[person.provider].config
        return f"{config.issuer}\0{config.client_id}\0{person.endings}"

    def _session_seconds(self, provider: Provider, person: Person) -> int:
        """Return how long a new session of a person may last."""
        seconds = provider.config.session_seconds
        if self.people.refresh_token_of(person):
            return seconds
        # without a renewal nobody says later whether the person still has the account
        return min(seconds, int(MAX_UNCONFIRMED.total_seconds()))

    def _log(self, provider: Provider, fault: WheelyardError, network: str) -> None:
        """Log why a sign-in failed: a client gets one text for many reasons."""
        reason = rejection_reason(fault, otherwise=fault.code)
        self.rejection_log.log(f"{provider.config.name}: {reason}", network)
