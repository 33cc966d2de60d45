"""Renders projects as JSON and HTML, for servers and static exports, without reading the store."""
