"""Export of an index as a static site: every page is asked of the application itself."""
