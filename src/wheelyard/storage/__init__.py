"""Stores: a few verbs over named objects, which know nothing of packages."""
