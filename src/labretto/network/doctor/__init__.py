"""The doctor: everything that could stop a run at night, looked for while somebody is still there to mend it.

    examine       all checks, one after the other
    finding       what a check answers
    machine       Python, packages, open files
    storage       LABRETTO_HOME, its disk, permissions, databases
    lives         hub, hosts and records as they are now
    ports         ports and devices that the lab wants
    drivers       drivers, each in a process of its own (`look`)
    descriptions  units, effects, stop (`units` knows the symbols)
    elsewhere     instruments behind an address, and their clocks

A check is a function that yields findings. Nothing is moved or started, and no driver is made.
"""
