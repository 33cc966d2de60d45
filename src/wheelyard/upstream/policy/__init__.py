"""
Which names, versions and files of upstream indexes may be shown, and why not the others.

`upstream/policy/` decides what of a page is shown, by the rules of `model/rules.py`. It knows no
HTTP.

- `policy.py`: what handlers ask about a name, a page or a file. It keeps the view of each page
  until something that decides changes.
- `facts.py`: what is known of the files of a page, as rules ask for it
- `first_uses.py`, `page_licences.py`: when an exception from a cooldown was first used, and the
  licences of files
- `osv_source.py`, `advisories.py`: the operator's OSV database: watched, parsed, matched with
  versions, and the one that was accepted last

A view has the generation of the policy: the versions of the decisions, of the OSV database, of
the known licences and of the first uses. It is made again when that, the files or the time
(`changes_at`) has changed. `upstream/decisions.py` makes decisions. They are one document with a
journal, as the grants are (`catalog/journaled_documents.py`). Where something that decides cannot
be read, the answer is 503: nothing is shown for want of a rule.
"""
