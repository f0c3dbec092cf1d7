"""`python -m microfastapi`: see `build`."""

from .build import main

main()
