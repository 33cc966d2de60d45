"""Where a static site is written: a folder that a web server serves, or a bucket of its own."""
