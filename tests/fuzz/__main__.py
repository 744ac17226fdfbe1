"""Run one fuzz target for long: `python -m tests.fuzz rtp.rtcp rtcp --count 1000000 --seed 7`."""

from __future__ import annotations

import argparse
from importlib import import_module

from tests.fuzz.engine import read_corpus, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", help="module.function under tests.fuzz, such as rtp.rtcp")
    parser.add_argument("corpus", help="a folder of tests/fuzz/corpus")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    module, _, function = arguments.target.rpartition(".")
    target = getattr(import_module(f"tests.fuzz.{module}"), function)
    run(target, read_corpus(arguments.corpus), seed=arguments.seed, count=arguments.count)


if __name__ == "__main__":
    main()
