"""``python -m emdarks``, and what the command `emdarks` runs."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it without a word."""
    # An import that is interrupted would end in a traceback of whatever it was at.
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from emdarks.cli import main as run

    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, usual)
    run()


if __name__ == "__main__":
    main()
