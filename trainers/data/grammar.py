"""Strings of a probabilistic context-free grammar that is small enough to write down all of them: their probabilities
are known, and so is how far a generator is from them.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from trainers.config import Data
from trainers.data.dataset import Dataset, Examples
from trainers.data.lines import code_points, read, space_of
from trainers.errors import DataError
from trainers.randomness import stream

ARITHMETIC = """
S -> 'x' [.55] | '(' S O S ')' [.45]
O -> '+' [.55] | '-' [.25] | '*' [.15] | '/' [.05]
"""
"""Expressions as in Kusner and Hernandez-Lobato 2016: 357 of at most three operators."""
LENGTH = 13
"""Characters of an expression with three operators."""
TRAIN, TEST = 10_000, 2_000
MOST = 20_000
"""Strings that are written down."""
MOST_WORK = 50_000_000
"""Pairs of strings that are joined on the way; after some ten seconds of it an ambiguous grammar is given up."""
PASSES, LEAST = 1_000, 1e-12
"""A string's probability is the sum over its derivations; those of more passes, or less likely, are left out."""

_RULE = re.compile(r"\s*(\w+)\s*->(.*)")
_CHOICE = re.compile(r"\s*((?:'[^']*'|\"[^\"]*\"|\w++|\s)*)\[\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\]\s*")
_SYMBOL = re.compile(r"'[^']*'|\"[^\"]*\"|\w+")
Language = Mapping[str, float]


class Choice(NamedTuple):
    """One right-hand side: terminals in quotes and names of other rules, in order, and how probable it is."""

    symbols: tuple[str, ...]
    probability: float


Grammar = Mapping[str, list[Choice]]


def grammar(settings: Data) -> Dataset:
    """10,000 strings to train on and 2,000 held out, drawn from the grammar at ``path``, or from ``ARITHMETIC``, among
    those of at most ``length`` characters. Raises DataError.
    """
    if isinstance(settings.path, tuple):
        raise DataError("data.path: of a grammar, give one file")
    where = settings.path or "the built-in grammar"
    rules = parse(read(settings.path) if settings.path else ARITHMETIC, where)
    language = strings(rules, settings.length or LENGTH, where)
    known, chances = list(language), torch.tensor(list(language.values()), dtype=torch.float64)
    space = space_of(known)
    rows = code_points(known, space.shape[0])
    drawn = (
        torch.multinomial(chances, count, replacement=True, generator=stream("grammar", split))
        for split, count in (("train", TRAIN), ("test", TEST))
    )
    train, test = (Examples(rows[chosen]) for chosen in drawn)
    return Dataset(settings.name, space, train, test, language=language)


def parse(text: str, where: str) -> Grammar:
    """Rules by name, the first of them the start, in NLTK's notation: ``S -> 'a' S [.5] | 'b' [.5]``, a rule a line;
    ``#`` begins a comment. Raises DataError with everything that is wrong in the file.
    """
    rules: dict[str, list[Choice]] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        rule = _RULE.fullmatch(line)
        choices = [_CHOICE.fullmatch(part) for part in _alternatives(rule[2])] if rule else []
        if rule is None or not all(choices):
            problems.append(f"line {number}: {line.strip()!r} is no rule; write S -> 'a' S [.5] | 'b' [.5]")
            continue
        for choice in filter(None, choices):
            rules.setdefault(rule[1], []).append(Choice(tuple(_SYMBOL.findall(choice[1])), float(choice[2])))
    problems += _wrong(rules) if rules or not problems else ()
    if problems:
        raise DataError("\n".join(f"data.path: {where}: {problem}" for problem in problems))
    return rules


def strings(rules: Grammar, length: int, where: str = "the grammar") -> Language:
    """The probability of each string of 1 to ``length`` characters, given that a string is so long, the most probable
    first. Raises DataError where there is no such string, or more than can be written down.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in rules}
    derivation = _Derivation(length, where)
    for _ in range(PASSES):
        before, found = found, {name: derivation.step(choices, found) for name, choices in rules.items()}
        if all(_same(before[name], found[name]) for name in rules):
            break
    start = {text: chance for text, chance in found[next(iter(rules))].items() if text}
    if len(start) < 2:
        what = f"derives {'only ' + repr(next(iter(start))) if start else 'nothing'} of 1 to {length} characters"
        raise DataError(f"data.path: {where} {what}; give a rule that ends, or raise data.length")
    total = math.fsum(start.values())
    return {text: chance / total for text, chance in sorted(start.items(), key=lambda one: (-one[1], one[0]))}


class _Derivation:
    """What rules derive, within the number of strings and the work that are allowed."""

    def __init__(self, length: int, where: str) -> None:
        self.length, self.where, self.work = length, where, 0

    def step(self, choices: list[Choice], known: Mapping[str, dict[str, float]]) -> dict[str, float]:
        """What one more application of a rule derives from what its parts did."""
        sums: dict[str, float] = defaultdict(float)
        for symbols, probability in choices:
            made = {"": probability}
            for symbol in symbols:
                made = self._joined(made, known[symbol] if symbol in known else {symbol[1:-1]: 1.0})
            for text, chance in made.items():
                sums[text] += chance
            self._require_little(sums)
        return dict(sums)

    def _joined(self, made: Mapping[str, float], ways: Mapping[str, float]) -> dict[str, float]:
        """Each of the first with each of the second behind it, as far as they are not too long."""
        shortest_first = sorted(ways.items(), key=lambda one: len(one[0]))
        sizes, joined = [len(text) for text, _ in shortest_first], defaultdict[str, float](float)
        for text, chance in made.items():
            fitting = bisect_right(sizes, self.length - len(text))
            self.work += fitting
            for more, factor in shortest_first[:fitting]:
                if chance * factor >= LEAST:
                    joined[text + more] += chance * factor
            self._require_little(joined)
        return joined

    def _require_little(self, strings: Mapping[str, float]) -> None:
        if len(strings) > MOST:
            what = f"derives more than {MOST:,} strings"
        elif self.work > MOST_WORK:
            what = f"takes more than {MOST_WORK:,} steps to derive its strings"
        else:
            return
        message = f"{what} of at most {self.length} characters; lower data.length"
        raise DataError(f"data.path: {self.where} {message}")


def _same(one: Language, other: Language) -> bool:
    return one.keys() == other.keys() and all(abs(one[text] - other[text]) < LEAST for text in one)


def _alternatives(text: str) -> list[str]:
    """Parted at each ``|`` that is not in quotes."""
    return re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^|'\"])+", text) or [text]


def _wrong(rules: Grammar) -> Iterator[str]:
    if not rules:
        yield "has no rule; write S -> 'a' S [.5] | 'b' [.5]"
    for name, choices in rules.items():
        total = math.fsum(choice.probability for choice in choices)
        if min(choice.probability for choice in choices) < 0 or not math.isclose(total, 1.0, abs_tol=1e-6):
            yield f"the probabilities of {name} come to {total:g}, not 1"
        symbols = dict.fromkeys(symbol for choice in choices for symbol in choice.symbols)
        for symbol in symbols:
            if symbol[0] not in "'\"" and symbol not in rules:
                yield f"{name} needs {symbol}, which has no rule; write one, or put it in quotes"
