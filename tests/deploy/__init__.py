"""The files in `deploy/` and the pages about them, held against what will read them."""
