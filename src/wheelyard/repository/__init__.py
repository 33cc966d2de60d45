"""
What an index shows, as repositories that can be held, filtered and stacked.

A `Repository` answers which files a name has. `OwnPackages` has the packages of one index, and
`UpstreamPackages` the public packages. `LayeredRepository` takes the first of several layers that
has a name, `FilteredRepository` applies the rules of an index, and `PackagesOfDay` shows the
packages of an index as they were at the end of a day. `wiring/repositories.py` puts these together
by the layers and rules of an index, and `IndexRepository` holds the result. No repository opens a
connection: whoever asks has fetched the public pages, after all layers have shown that the name is
not private.

`index_rules.py` and `rule_facts.py` are imported only if an index has rules.
"""
