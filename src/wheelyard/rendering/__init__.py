"""Renders projects as JSON and HTML, for servers and static exports; reads nothing of the store."""
