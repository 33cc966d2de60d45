"""Pages, feeds and settings as JSON, HTML and text, made from values without any I/O."""
