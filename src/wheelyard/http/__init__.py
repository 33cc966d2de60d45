"""The ASGI application: the only room that knows HTTP and asyncio. Requests in, replies out."""
