"""A project that has been through a lot, and what can happen to its objects."""

from packaging.utils import NormalizedName

from tests.operations.making import make_sdist, make_wheel
from tests.operations.world import World
from wheelyard.catalog import keys
from wheelyard.storage.base import Key

DEMO = NormalizedName("demo")
WHEEL, SDIST, LOST = make_wheel(), make_sdist(), make_wheel(version="9.0")
WHEEL_KEY = keys.distribution(DEMO, WHEEL.sha256, WHEEL.filename)
METADATA_KEY = keys.core_metadata(DEMO, WHEEL.sha256, WHEEL.filename)
DOCUMENT = keys.project(DEMO)
LAST = 5
LAST_ENTRY = keys.commit(DEMO, LAST)


def flip(world: World, key: Key, at: int = -3) -> None:
    """Change one bit of an object."""
    body = bytearray(world.bytes_at(key))
    body[at] ^= 1
    world.store.put(key, bytes(body), None)


def remove(world: World, key: Key) -> None:
    """Lose an object."""
    world.store.delete(key, None)


def edit(world: World, key: Key, old: bytes, new: bytes) -> None:
    """Change an object in a way that can still be read."""
    body = world.bytes_at(key)
    assert old in body
    world.store.put(key, body.replace(old, new, 1), None)


def put(world: World, key: Key, body: bytes) -> None:
    """Plant an object."""
    world.store.put(key, body, None)
