"""The `howbectl` program."""

from __future__ import annotations

from h9s.cli.root import howbectl


def main() -> None:
    """Run the process's command line and exit."""
    howbectl()


if __name__ == "__main__":
    main()
