"""A small mutating fuzzer: seeds from a corpus in git, a target that raises when it is broken.

A target takes bytes and returns; it raises AssertionError, or anything a parser must not
raise, if its invariant does not hold. `python -m tests.fuzz` runs the targets for longer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
INTERESTING = (
    0,
    1,
    2,
    3,
    4,
    0x0F,
    0x10,
    0x7F,
    0x80,
    0x81,
    0x90,
    0xB0,
    0xBE,
    0xC8,
    0xDE,
    0xFE,
    0xFF,
)

Target = Callable[[bytes], None]


def read_corpus(name: str) -> list[bytes]:
    """The seeds of tests/fuzz/corpus/<name>, in a stable order; at least one."""
    seeds = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    if not seeds:
        raise FileNotFoundError(f"no corpus {name}")
    return seeds


def mutate(rng: random.Random, seeds: Sequence[bytes], max_size: int = 2048) -> bytes:
    """A seed changed in one to eight places: bytes, lengths, cuts, repeats, other seeds' parts."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) + 1)
        size = rng.choice((1, 2, 4, rng.randint(1, 40)))
        match rng.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.choice(INTERESTING)
            case 2 if at < len(data):
                data[at] = rng.randrange(256)
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = rng.randbytes(size)
            case 5:
                data[at:at] = data[at : at + size]
            case 6:
                other = rng.choice(seeds)
                start = rng.randrange(len(other) + 1)
                data[at : at + size] = other[start : start + size]
            case _:
                del data[at:]
    return bytes(data[:max_size])


def run(
    target: Target, seeds: Sequence[bytes], *, seed: int, count: int, max_size: int = 2048
) -> None:
    """Every seed as it is, then `count` mutations of them; the failing input is in the error."""
    rng = random.Random(seed)
    inputs = [*seeds, b""]
    for number in range(len(inputs) + count):
        data = inputs[number] if number < len(inputs) else mutate(rng, seeds, max_size)
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"{target.__name__} broke on {data.hex()}") from error
