"""Export of an index as a static site; ARCHITECTURE.md explains the order of writes."""
