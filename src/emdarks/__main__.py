"""``python -m emdarks``."""

from emdarks.cli import main

if __name__ == "__main__":
    main()
