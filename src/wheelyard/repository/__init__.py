"""
What an index shows, as things that one can hold, filter and stack.

A `Repository` answers which files a name has. `Own` has the packages of one index, `Upstream` the
public ones, `Layers` takes the first of several that has a name, `Filtered` applies the rules of an
index, and `AsOf` shows the packages of an index as they were at the end of a day. The layers and
rules of an index say how they are put together (`wiring/repositories.py`), and `IndexRepository`
holds the result. No repository opens a connection: whoever asks has fetched the public pages, after
it was found over all layers that the name is not private.

`index_rules.py` and `rule_facts.py` are imported only if an index has rules.
"""
