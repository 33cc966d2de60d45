"""The web server, an ASGI application; below it, only `concurrency/single_flight.py` is async."""
