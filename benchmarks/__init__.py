"""Speed and memory, measured side by side in one run: ``python -m benchmarks.train``, ``.synthesis``, ``.data``.

Run from a clone; not part of the installed package.
"""
