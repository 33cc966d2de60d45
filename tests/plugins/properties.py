"""
Sets with how many examples Hypothesis tries each property that names no number itself.

Each day they are few, and the same ones in each run. Each week they are many, drawn anew.
"""

from hypothesis import settings

settings.register_profile("daily", settings.get_profile("ci"), max_examples=60)
settings.register_profile("weekly", settings.get_profile("ci"), derandomize=False, max_examples=500)
