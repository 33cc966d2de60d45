"""
Views: indexes that show a part of others, by a filter (`model/view_filter/`).

- `view.py`: applies the filter of one index to a project, and remembers the answer
- `facts.py`: looks up the facts about files, as far as the filter names them

Imported if an index has a filter, and not before.
"""
