"""
Filters of views: which files an index shows, as `age_days >= 7 and severity < 9`.

- `language.py`: the grammar, and the parser, whose errors name the place of a mistake
- `conditions.py`: a parsed filter, which is evaluated, explained and printed
- `facts.py`: what a filter is evaluated over: the facts about one file

A filter is data: nothing of it is run as Python. Its length, the number of its conditions and their
nesting are limited, and one evaluation looks at each condition at most once. It is imported if an
index has a filter, and not before, as is the parser library.
"""
