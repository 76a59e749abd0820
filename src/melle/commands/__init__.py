"""The commands of ``python -m melle``, each a dataclass of its options whose ``run`` does the work.

``cli.py`` lists them, and imports the one that is used. Heavy packages are imported inside of the methods where the
options do without them, so that --help and mistyped options answer at once.
"""
