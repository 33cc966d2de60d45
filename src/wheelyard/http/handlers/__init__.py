"""
Request handlers, by subject. No handler imports another.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged. One
that reads a body raises Waiting until it has come, Invalid if it is malformed, and TooLarge if it
is too long. One that answers a cacheable page raises Invalid (412) if If-Match has another ETag.
"""
