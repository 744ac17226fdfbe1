"""Explore all fuzz targets, or those named, and let the corpus grow: `make fuzz MINUTES=10`.

    python -m tests.fuzz [--minutes 10] [--seed 7] [rtp.rtcp ...]

Ends with an error that has the failing input in it, and status 1, where a target breaks.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from importlib import import_module
from typing import Final

from tests.fuzz.engine import CORPUS, Target, explore, keep, read_corpus

TARGETS: Final = {
    "control.channel": ("control", 20_000),
    "control.fragment": ("fragment", 4096),
    "control.router": ("control", 20_000),
    "rtp.feedback": ("feedback", 2048),
    "rtp.payload": ("payload", 2048),
    "rtp.rtcp": ("rtcp", 2048),
    "rtp.rtp": ("rtp", 2048),
    "sctp.association": ("sctp", 8192),
    "sctp.channel": ("sctp-channel", 8192),
    "sctp.cookie": ("sctp-cookie", 8192),
    "sctp.frame": ("data-frame", 8192),
    "sctp.insides": ("sctp-insides", 8192),
    "sctp.packet": ("sctp", 8192),
    "sdp.description": ("sdp", 16_384),
    "sdp.player": ("sdp", 16_384),
    "sdp.publisher": ("sdp", 16_384),
    "sdp.subscriber": ("sdp", 16_384),
    "signaling.foreign": ("foreign", 4096),
    "signaling.hub": ("signaling", 4096),
    "signaling.message": ("signaling", 4096),
    "stun.agent": ("stun", 2048),
    "stun.request": ("stun", 2048),
}
"""Corpus and largest input of each target."""


def find(name: str) -> Target:
    module, _, function = name.rpartition(".")
    target: Target = getattr(import_module(f"tests.fuzz.{module}"), function)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="By default all.")
    parser.add_argument("--minutes", type=float, default=1.0, help="In all. Default: 1")
    parser.add_argument("--seed", type=int, default=None, help="By default another each time.")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}")
    broken = 0
    for name in names:
        corpus, max_size = TARGETS[name]
        end = time.monotonic() + options.minutes * 60 / len(names)
        tried = 0

        def more(end: float = end) -> bool:
            nonlocal tried
            tried += 1
            return time.monotonic() < end

        kept = 0
        try:
            for data in explore(
                find(name),
                read_corpus(corpus),
                rng=random.Random(seed),
                max_size=max_size,
                more=more,
            ):
                keep(CORPUS / corpus, data)
                kept += 1
        except AssertionError as error:
            print(f"{name}: {error}: {error.__cause__!r}", file=sys.stderr)
            broken += 1
        print(f"{name}: {tried} inputs, {kept} kept", flush=True)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
