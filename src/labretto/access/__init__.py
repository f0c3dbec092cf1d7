"""Who asks, and may they. Decides only; no socket and no web framework is known here.

    rule       actors, roles, verbs, and the one rule of who does what
    listening  where a server may listen, and which names it answers to
    tokens     who has been let in until when; kept hashed
    session    a browser's cookie in a token's place
    pace       how often a client may act
    trail      the audit trail: one line for every act
    gate       all of these for one server; what the wires ask

A server without a gate is on the loopback and answers everybody who can reach it.
"""

from __future__ import annotations

from labretto.access.gate import Gate as Gate, gate_of as gate_of
from labretto.access.listening import bearer as bearer, check_bind as check_bind, is_loopback as is_loopback
from labretto.access.rule import Actor as Actor, Decision as Decision, Role as Role, Verb as Verb, allow as allow
