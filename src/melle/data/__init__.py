"""From manifests to batches."""

# Score of an alignment, 0 to 1: of less it is likely that something else is said than is written. Here, without torch,
# so that the command line knows it at once.
MIN_ALIGNMENT = 0.4
