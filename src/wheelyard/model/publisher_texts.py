"""The keys of a trusted publisher as texts, as a form or a command has them, and back."""

from collections.abc import Mapping
from typing import Final

from msgspec.inspect import type_info
from msgspec.structs import fields

from wheelyard.errors import quoted
from wheelyard.model.field_texts import text_of_value, value_of_text, wrong_text
from wheelyard.model.publisher import PRIVATE_ISSUER, PROVIDERS
from wheelyard.model.stored_publishers import PublisherKeys

PROVIDER: Final = "provider"
_BOOLEAN: Final = type_info(bool)


def keys_of_texts(provider: str, texts: Mapping[str, str]) -> PublisherKeys:
    """
    Return the keys of a publisher from a text for each key. The values are not checked further.

    A key with an empty text is left out, but for the id. A text that is no number or boolean stays
    a text, for later checks to refuse. Raises Invalid (code `invalid_field`), with
    the key, if `match` has a line without a name and `=`, or a claim twice, and if the provider or
    a key is unknown.
    """
    table_class = PROVIDERS.get(provider)
    if table_class is None:
        message = f"There is no provider {quoted(provider)}. Write {', '.join(PROVIDERS)}."
        raise wrong_text(PROVIDER, message)
    types = {field.encode_name: type_info(field.type) for field in fields(table_class)}
    keys: PublisherKeys = {"id": texts.get("id", ""), PROVIDER: provider}
    for key, text in texts.items():
        # `parse_publisher` says what to do about `PRIVATE_ISSUER`
        if key not in types and key != PRIVATE_ISSUER:
            names = ", ".join(types)
            raise wrong_text(key, f"{quoted(key)} is no key of {provider}. The keys are {names}.")
        if text.strip():
            keys[key] = value_of_text(types.get(key, _BOOLEAN), key, text.strip())
    return keys


def texts_of_keys(keys: PublisherKeys) -> dict[str, str]:
    """Return the keys of a publisher but the provider as texts, for `keys_of_texts`."""
    return {key: text_of_value(value) for key, value in keys.items() if key != PROVIDER}
