"""ICE-lite (RFC 8445 2.5): who may talk to us, from where, and until when.

The client checks, we answer. The address of the last nominated check is where media goes;
a client that changes network is followed as soon as it checks from its new address.
"""

from __future__ import annotations

from typing import NewType

Address = NewType("Address", bytes)
"""A peer's socket address as the kernel writes it: compared bytewise, never parsed here."""
