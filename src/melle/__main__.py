"""``python -m melle``."""

from melle.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
