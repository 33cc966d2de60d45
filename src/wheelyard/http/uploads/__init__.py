"""The upload form, from the first byte to the upload operation."""
