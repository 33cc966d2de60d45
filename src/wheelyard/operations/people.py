"""What administrators do about people: end somebody's access, admit them, and release a name."""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog.person_records import PeopleRecords, PersonNames
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import NotFound, quoted
from wheelyard.model.decoding import require_one_line
from wheelyard.model.person import Person, normalized_person_name
from wheelyard.operations.access_control import (
    NOBODY,
    NOTE_LIMIT_CHARS,
    AccessControl,
    Principals,
)


class PeopleAdministration(Struct, frozen=True):
    """
    Changes the records of people, and writes each change into the journal of rights.

    Somebody without a record, such as a user of the htpasswd file, is ended in the document of
    rights alone, by `AccessControl`. Threads may share an object. Every method raises Unavailable
    if the store does not answer.
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

        Sessions and tokens of the person end on every server once its caches are renewed. The
        record of a person whose access was ended before stays as it is. `ended_by` are the
        principals of whoever ends the access. Raises NotFound if there is no such person, and
        Invalid if the note is not one line of text. Raises Unauthenticated (code `person_ended`) if
        their own access was ended before.
        """
        now = self.retries.runtime.now()

        def end_record(person: Person) -> Person:
            if person.ended_at is not None:
                return person
            endings = person.endings + 1
            return replace(person, ended_at=now, ended_by=by, endings=endings, refresh_token="")

        # the document of rights first, as it alone decides: after a crash between both writes the
        # person has no access, and the next try ends the record as well
        person = self._read_person(provider, person_id)
        self.access.end_person(_unique_principal(person), by, note, ended_by)
        return self._change_record(provider, person_id, end_record)

    def admit(self, provider: str, person_id: str, by: str, note: str = "") -> Person:
        """
        Let a person sign in again whose access was ended, and return the record.

        Raises NotFound if there is no such person, and Invalid if the note is not one line of text.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)

        def admit_record(person: Person) -> Person:
            return replace(person, ended_at=None, ended_by="")

        # the record first: the person stays out until the document of rights is changed, too
        person = self._change_record(provider, person_id, admit_record)
        self.access.admit_person(_unique_principal(person), by, note)
        return person

    def release_name(
        self, provider: str, name: str, by: str, ended_by: Principals = NOBODY
    ) -> Person | None:
        """
        Let the next person who signs in with a name have it.

        If a person has the name now, their access is ended first, as grants to the name are not
        for them any more. Return the record of this person, or None if the holder of the name has
        another name by now. `ended_by` are the principals of whoever releases the name. Raises
        NotFound if nobody holds the name, and Unauthenticated (code `person_ended`) if their own
        access was ended before.
        """
        name = normalized_person_name(name)
        ended_person: Person | None = None
        holder_id = self.names.holder(provider, name)
        if not holder_id:
            raise NotFound(
                f"Nobody of {quoted(provider)} has the name {quoted(name)} here. Write both as in "
                "the principal, oidc:PROVIDER:NAME."
            )
        person = self.records.get_current(provider, holder_id).value
        if person is not None and person.name == name:
            ended_person = self.end(provider, holder_id, by, ended_by=ended_by)
        # a crash before this leaves a person without access, and the name to be released again
        self.names.release(provider, name, holder_id)
        self.access.note_released_name(f"oidc:{provider}:{name}", by)
        return ended_person

    def _read_person(self, provider: str, person_id: str) -> Person:
        """Return the record of a person. Raises NotFound if there is none."""
        person = self.records.get_current(provider, person_id).value
        if person is None:
            raise NotFound(f"There is no person {quoted(person_id)} of {quoted(provider)}.")
        return person

    def _change_record(
        self, provider: str, person_id: str, change: Callable[[Person], Person]
    ) -> Person:
        """
        Change the record of a person, and return it as it is then.

        `change` may be called several times. Raises NotFound if there is no such person.
        """
        # a sign-in may write the record at the same time
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


def _unique_principal(person: Person) -> str:
    """Return the principal of a person with their id, which no later holder of the name has."""
    return f"{person.principal}#{person.id}"
