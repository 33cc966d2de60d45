"""The operations of an index (upload, yank, delete, check, import, export), without HTTP."""
