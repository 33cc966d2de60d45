"""Six verbs over named objects. A store knows keys, bytes and versions, and nothing of packages."""
