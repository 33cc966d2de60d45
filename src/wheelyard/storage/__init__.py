"""Stores of named objects (folder, memory, bucket), which know nothing of packages."""
