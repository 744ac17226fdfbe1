"""A small mutating fuzzer: seeds from a corpus in git, a target that raises when it is broken.

A target takes bytes and returns; it raises AssertionError, or anything a parser must not
raise, if its invariant does not hold. `make fuzz` explores all targets for longer, and keeps the
inputs that reach a line of ours which none reached before.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

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


Lines = set[tuple[str, int]]
ROOT = Path(__file__).parents[2]
OURS = (f"{ROOT}/signaling/", f"{ROOT}/relay/")


def trace(target: Target, data: bytes, ours: Sequence[str] = OURS) -> Lines:
    """Run the target once; the lines below `ours` that it passed."""
    seen: Lines = set()

    def follow(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(tuple(ours)):
            return None
        if event == "line":
            seen.add((name, frame.f_lineno))
        return follow

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        target(data)
    except Exception as error:
        raise AssertionError(f"{target.__name__} broke on {data.hex()}") from error
    finally:
        sys.settrace(before)
    return seen


def explore(
    target: Target,
    seeds: Sequence[bytes],
    *,
    rng: random.Random,
    max_size: int,
    more: Callable[[], bool],
    ours: Sequence[str] = OURS,
) -> Iterator[bytes]:
    """Mutate for as long as there is `more` to do; each input that reaches a line which none did
    before is one to mutate from then on, and is yielded."""
    inputs = list(seeds)
    known: Lines = set()
    for seed in inputs:
        known |= trace(target, seed, ours)
    while more():
        data = mutate(rng, inputs, max_size)
        reached = trace(target, data, ours)
        if not reached <= known:
            known |= reached
            inputs.append(data)
            yield data


def keep(folder: Path, data: bytes) -> Path:
    """Put an input into a corpus, under a name that follows from it."""
    path = folder / f"found-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path
