"""Experiments as data: what shall be done, read from text, checked before anything moves, walked step by step.

Nothing in this room touches an instrument or a socket. `model` is the experiment, `load` reads one from YAML or JSON,
`check` holds it against the instruments' descriptions, `follow` walks it.
"""
