"""
Views: what the rules of an index (`model/rules.py`) hide of the projects of its layers.

- `view.py`: applies the rules of one index to a project, and remembers the answer
- `facts.py`: looks up the facts about files, as far as the rules ask for them

Imported if an index has rules, and not before.
"""
