"""Which names, versions and files of upstream indexes may be shown, and why not the others."""
