"""Section `[webhooks]`: where webhooks may lead."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final

from msgspec import Struct

from wheelyard.settings import value_checks as kinds

_LINK_LOCAL: Final = (ip_network("169.254.0.0/16"), ip_network("fe80::/10"))
"""Networks in which clouds give credentials of the machine to whoever asks."""


class WebhookSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[webhooks]`: where webhooks may lead."""

    allow_private_networks: tuple[kinds.Network, ...] = ()
    """Private addresses that a webhook with `allow_private` may have, such as `10.0.0.0/8`."""

    @property
    def problems(self) -> Iterator[str]:
        """A sentence for each network in `allow_private_networks` that no webhook may lead to."""
        for text in self.allow_private_networks:
            network = ip_network(text)
            if any(network.overlaps(forbidden) for forbidden in _LINK_LOCAL):
                yield (
                    f"webhooks.allow_private_networks: {text} has link-local addresses, which are "
                    "never asked. Take it away"
                )
