"""`python -m labretto`."""

from labretto.cli import main

main()
