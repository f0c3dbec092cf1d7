"""What holds for every test of the instrument room."""

from hypothesis import settings

# How fast the machine is says nothing about the code.
settings.register_profile("instrument", deadline=None)
settings.load_profile("instrument")
