"""Sign-ins with providers from the button to the record of a person, and checks of sessions."""

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
"""The age of a confirmation from which on a session does not count."""
REMOVED_AT_ONCE: Final = 100
"""How many expired records of used states a sign-in removes."""
MAX_RENEWALS: Final = 8
"""The most renewals in the background at a time. Others wait for a later request of the person."""
WAIT_SECONDS: Final = 15.0
"""How long a request waits for a renewal by another process."""
POLL_SECONDS: Final = 0.5
"""The pause between two reads of the record while another process renews the person."""
RETRY_SECONDS: Final = 30.0
"""How long no request waits again for a person who was not confirmed in time."""


class SignedIn(Struct, frozen=True):
    """The result of a sign-in."""

    person: Person
    next: str
    """The path of the page to return to, or an empty text for the home page."""
    session: SessionId | None
    """The session that the browser had before."""
    seconds: int
    """How many seconds a new session may last."""


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
        self._unconfirmed = ExpiringCache[str, bool](runtime.monotonic, 10_000)

    def begin(self, person: Person) -> None:
        """Renew a person in the background, unless too many renewals are under way."""
        # `_renew_and_release` releases the slot, in its own thread
        if self._slots.acquire(blocking=False):
            try:
                self._start(partial(self._renew_and_release, person))
            except RuntimeError:
                # the machine has no more threads: the next request tries again
                self._slots.release()

    def wait_for(self, person: Person) -> None:
        """
        Renew a person, or wait for `WAIT_SECONDS` at most until another process has done so.

        Returns at once if the person could not be confirmed a moment ago. Raises Unavailable if the
        store does not answer.
        """
        if self._unconfirmed.get(_person_key(person)) is not None:
            return
        provider = self._providers[person.provider]
        deadline = self._runtime.monotonic() + WAIT_SECONDS
        # another process may have the lease, and writes its result into the record
        while True:
            is_asked = self._people.renew(provider, person.id)
            current = self._people.records.get_current(person.provider, person.id).value
            # the provider has refused the person, or an administrator has ended the access
            if current is None or not self._people.refresh_token_of(current):
                return
            if self._runtime.now() - current.confirmed_at < MAX_UNCONFIRMED:
                return
            # the provider did not answer, or the process with the lease takes too long
            if is_asked or self._runtime.monotonic() >= deadline:
                self._unconfirmed.put(_person_key(person), True, RETRY_SECONDS)  # noqa: FBT003 - a value
                return
            self._runtime.pause(POLL_SECONDS)

    def _renew_and_release(self, person: Person) -> None:
        """Renew a person in a thread of its own, and release the slot."""
        try:
            # nothing waits for this thread; after an error, the next request tries again
            with suppress(WheelyardError):
                self._people.renew(self._providers[person.provider], person.id)
        finally:
            self._slots.release()


def _person_key(person: Person) -> str:
    """Return a text that tells a person apart from all other people."""
    return f"{person.provider}:{person.id}"


def in_thread(work: Callable[[], None]) -> None:
    """
    Run `work` in a thread of its own.

    The thread is no daemon, as it has to write a new refresh token. A server that stops ends the
    thread nevertheless, and then the person signs in again.
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

        Raises NotFound if there is no provider of this name.
        """
        provider = self.providers.get(name)
        if provider is None:
            raise NotFound("There is no provider of this name here. Sign in with another one.")
        return provider

    def begin(
        self, name: str, browser: str, next_path: str, session: SessionId | None = None
    ) -> str:
        """
        Return the URL of a provider at which a person signs in.

        `browser` is the text in the cookie of the browser, which may have a `session`. May wait for
        the provider. Raises NotFound if there is no provider of this name, and Unavailable if the
        provider or the store does not answer.
        """
        provider = self.provider(name)
        request = self.attempts.begin(provider.config.name, browser, next_path, session)
        try:
            return provider.authorization_url(request)
        except Unavailable as fault:
            self._log_failure(provider, fault, "-")
            raise

    def finish(
        self, name: str, browser: str, state: str, answer: AuthorizationAnswer, address: str
    ) -> SignedIn:
        """
        Finish the sign-in to which an answer of a provider belongs, and return its result.

        Waits for the provider, and writes the record of the person. `browser` is the text in the
        cookie of the browser. An attempt counts for the rate limit of the network of `address` at
        this provider until the attempt succeeds. Failures are logged. Some expired records of used
        ID tokens and sign-ins are removed.

        Raises NotFound if there is no provider of this name. Raises Invalid (code
        `sign_in_expired`) if the answer belongs to no sign-in of this browser. Raises Forbidden
        (code `sign_in_refused`) if the person may not sign in, and Conflict (code `name_taken`) if
        somebody else had the name first. Raises Unavailable (code `rate_limited`) after too many
        attempts, and if the provider or the store does not answer.
        """
        provider = self.provider(name)
        network = network_of(address)

        # counted first, as many attempts may come before the provider has answered one
        provider_key = f"{AT_PROVIDER}:{name}:{network}"
        wait_at_provider = self.rate_limit.count_attempt(provider_key)
        # not counted here, as the authenticator counts the sign-ins of a network
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
            # the first write, after the provider has accepted the code: an invented code writes
            # nothing
            self.attempts.use(attempt)
            person = self.people.sign_in(provider, confirmation)
        except WheelyardError as fault:
            self._log_failure(provider, fault, network)
            raise
        self.rate_limit.give_back(provider_key)

        # the person has signed in: after an error, a later sign-in or the sweep cleans up
        with suppress(WheelyardError):
            self.cleanup.run(REMOVED_AT_ONCE)
        seconds = self._session_seconds(provider, person)
        return SignedIn(person, attempt.next, attempt.session, seconds)

    def present(self, session: Session) -> tuple[str, Identity]:
        """
        Return the present evidence of a session, and the identity of its person.

        Renews the person in the background if a renewal is due. Raises ConfirmationNeeded if the
        renewal has to be done first, and Unauthenticated if the session does not hold. Raises
        Unavailable if the store does not answer.
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
        """
        Return the text that stays unchanged while sessions of a person hold.

        The text has the client at the provider, and how often the sessions of the person were
        ended.
        """
        config = self.providers[person.provider].config
        return f"{config.issuer}\0{config.client_id}\0{person.endings}"

    def _session_seconds(self, provider: Provider, person: Person) -> int:
        """Return how many seconds a new session of a person may last."""
        seconds = provider.config.session_seconds
        if self.people.refresh_token_of(person):
            return seconds
        # without renewals, nothing later tells whether the person still has the account
        return min(seconds, int(MAX_UNCONFIRMED.total_seconds()))

    def _log_failure(self, provider: Provider, fault: WheelyardError, network: str) -> None:
        """Log the reason of a failed sign-in, as the client gets one text for many reasons."""
        reason = rejection_reason(fault, otherwise=fault.code)
        self.rejection_log.log(f"{provider.config.name}: {reason}", network)
