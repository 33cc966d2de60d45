"""
Request handlers, by subject. No module of handlers imports another.

Each handler raises Unavailable if the store does not answer, or a document that it needs is
damaged. A handler that reads a body raises Waiting until the body has come, Invalid if the body is
malformed, and TooLarge if it is too long. A handler of a cacheable page raises Invalid (412) if
If-Match has another ETag.
"""
