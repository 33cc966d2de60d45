"""
Import sources: each kind of source yields the candidates of an import.

HTML links are parsed by our own scanner. `html.parser` of Python 3.11.7 takes quadratic time for
unclosed tags: 64 kB of `<a '` take 15 seconds, our three patterns 0.01, and a page may have 64
MiB.
"""
