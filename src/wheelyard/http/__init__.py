"""The web server as an ASGI application; the only package that uses HTTP and asyncio."""
