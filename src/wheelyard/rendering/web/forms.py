"""What a page shows of a form: its anti-forgery token, what was typed, and what is wrong."""

from collections.abc import Mapping

from msgspec import Struct


class FormState(Struct, frozen=True):
    """A form as a page shows it; without `values` nobody has sent it yet."""

    token: str
    values: Mapping[str, tuple[str, ...]] = {}
    """The texts that were typed or ticked, by field."""
    error: str = ""
    wrong_field: str = ""
    """The field that the error is about; empty if it is about no single one."""

    def value(self, name: str, default: str = "") -> str:
        """Return the text of a field; `default` if the form was not sent."""
        if not self.values:
            return default
        return next(iter(self.values.get(name, ())), "")

    def ticked(self, name: str, value: str, *, default: bool = False) -> bool:
        """Return whether a box or a button has a value; `default` if the form was not sent."""
        return value in self.values.get(name, ()) if self.values else default

    def error_of(self, name: str) -> str:
        """Return the error if it is about the field `name`, else an empty text."""
        return self.error if name == self.wrong_field else ""
