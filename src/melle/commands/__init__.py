"""The commands of ``python -m melle``, one file each: ``add`` describes its options, and a function does the work.

Heavy packages are imported inside of the functions, so that --help and mistyped options answer at once.
"""
