"""Is a host what the contract says? Checks that can be pointed at any host, whoever wrote it, and a kit that kills it.

`suite` asks a host over its own wire and reports sentence by sentence; `killing` kills its process and `link` its
connection, and looks at what matter did. Both need no test runner. `Subject` is the instrument that a host is best
checked with: it can be told to block, to fail and to count. How to use all this is in the how-to "Hold a host to the
contract".
"""

from labretto.network.conformance.subject import Subject

__all__ = ["Subject"]
