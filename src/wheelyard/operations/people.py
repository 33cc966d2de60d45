"""What administrators do about people: end somebody's access, admit them, and release a name."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog.person_records import PeopleRecords, PersonNames
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import NotFound, quoted
from wheelyard.model.decoding import require_one_line
from wheelyard.model.person import Person, person_name
from wheelyard.operations.access_control import (
    NOBODY,
    NOTE_LIMIT_CHARS,
    AccessControl,
    Principals,
)


class PeopleAdministration(Struct, frozen=True):
    """
    Changes the records of people, and writes each change into the journal of rights.

    Who has no record, as a user of the htpasswd file, is ended in the document of rights alone.
    Threads may share it. Every method raises Unavailable if the store does not answer.
    """

    records: PeopleRecords
    names: PersonNames
    access: AccessControl
    retries: ConflictRetries

    def end(
        self,
        provider: str,
        person_id: str,
        by: str,
        note: str = "",
        ended_by: Principals = NOBODY,
    ) -> Person:
        """
        End the access of a person, who may not sign in any more, and return the record.

        Sessions and tokens of the person end on every server once its caches are renewed. A record
        that was ended before stays as it is. Raises NotFound if there is no such person, and
        Invalid if the note is not one line of text. Raises Unauthenticated (code `person_ended`) if
        the access of whoever has the principals `ended_by` was ended before.
        """
        now = self.retries.runtime.now()

        def ended(person: Person) -> Person:
            if person.ended_at is not None:
                return person
            endings = person.endings + 1
            return replace(person, ended_at=now, ended_by=by, endings=endings, refresh_token="")

        # the document of rights decides, and ends the person by itself: after a crash the next try
        # ends the record as well
        person = self._get(provider, person_id)
        self.access.end_person(_who(person), by, note, ended_by)
        return self._change(provider, person_id, ended)

    def admit(self, provider: str, person_id: str, by: str, note: str = "") -> Person:
        """
        Let a person sign in again whose access was ended, and return the record.

        Raises NotFound if there is no such person, and Invalid if the note is not one line of text.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)

        def admitted(person: Person) -> Person:
            return replace(person, ended_at=None, ended_by="")

        # the record first: while the document of rights has the end, the person stays out
        person = self._change(provider, person_id, admitted)
        self.access.admit_person(_who(person), by, note)
        return person

    def release_name(
        self, provider: str, name: str, by: str, ended_by: Principals = NOBODY
    ) -> Person | None:
        """
        Let the next person who signs in with a name have it.

        If somebody has the name now, their access is ended first, as grants to the name are not
        theirs any more, and the record is returned. Otherwise None is. Raises NotFound if the name
        is nobody's, and Unauthenticated (code `person_ended`) if the access of whoever has the
        principals `ended_by` was ended before.
        """
        name = person_name(name)
        ended = None
        holder = self.names.holder(provider, name)
        if not holder:
            raise NotFound(
                f"Nobody of {quoted(provider)} has the name {quoted(name)} here. Write both as in "
                "the principal, oidc:PROVIDER:NAME."
            )
        person = self.records.get_current(provider, holder).value
        if person is not None and person.name == name:
            ended = self.end(provider, holder, by, ended_by=ended_by)
        # a crash before this leaves an ended person, and the name to be released again
        self.names.release(provider, name, holder)
        self.access.note_released_name(f"oidc:{provider}:{name}", by)
        return ended

    def _get(self, provider: str, person_id: str) -> Person:
        person = self.records.get_current(provider, person_id).value
        if person is None:
            raise NotFound(f"There is no person {quoted(person_id)} of {quoted(provider)}.")
        return person

    def _change(self, provider: str, person_id: str, change: Callable[[Person], Person]) -> Person:
        """Change a record, and return it as it is then. `change` may be called several times."""
        # a sign-in writes the record, too
        for _ in self.retries.attempts():
            snapshot = self.records.get_current(provider, person_id)
            person = snapshot.value
            if person is None:
                raise NotFound(f"There is no person {quoted(person_id)} of {quoted(provider)}.")
            changed = change(person)
            if changed == person:
                return person
            saved = self.records.save(changed, snapshot)
            if saved is not None:
                return saved
        raise self.retries.exhausted("the record of a person")


def _who(person: Person) -> str:
    """Return the principal of a person that nobody else has."""
    return f"{person.principal}#{person.id}"
