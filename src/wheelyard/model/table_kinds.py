"""The kinds of tables that a store keeps."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from wheelyard.model.stored_indexes import INDEX_KIND
from wheelyard.model.stored_namespaces import NAMESPACE_KIND
from wheelyard.model.stored_publishers import PUBLISHER_KIND
from wheelyard.model.stored_tables import TableEvent, TableKind
from wheelyard.model.stored_webhooks import WEBHOOK_KIND

TABLE_KINDS: Final[tuple[TableKind[Any, Any, Any], ...]] = (
    INDEX_KIND,
    PUBLISHER_KIND,
    NAMESPACE_KIND,
    WEBHOOK_KIND,
)
KIND_OF_EVENT: Final[Mapping[type[TableEvent], TableKind[Any, Any, Any]]] = MappingProxyType(
    {event: kind for kind in TABLE_KINDS for event in kind.events}
)
"""The kind of table that each class of events is about."""
EVENT_HEADINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        str(event.__struct_config__.tag): heading
        for kind in TABLE_KINDS
        for event, heading in kind.events.items()
    }
)
"""The heading of a list of events, by the tag of the event."""
