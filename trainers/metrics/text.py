"""Text against text, in both directions: what repeats a few good lines, and what is varied and wrong, must both lose.

Where a grammar says how probable every string is, total variation is exact but for the sampling. Elsewhere n-grams are
compared, beside what as many real lines score. A likelihood under a fixed oracle (SeqGAN) is no such measure: a low
temperature improves it at will.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from trainers.metrics.features import FeatureError

N = 3
"""Characters of an n-gram, among them one mark of the start and one of the end."""


class Written(NamedTuple):
    """Generated lines, as many training lines where there are so many, held-out lines, and the probability of every
    string where it is known.
    """

    made: Sequence[str]
    real: Sequence[str]
    held_out: Sequence[str]
    language: Mapping[str, float] | None


def of_language(written: Written) -> dict[str, float]:
    """``tv``: total variation distance to the truth, strings outside of the language being one of their own; ``valid``:
    share of strings of the language; ``hit``: probability of the strings that came up. Raises FeatureError.
    """
    language = written.language
    if language is None:
        raise FeatureError("only of a grammar are the probabilities of strings known")
    found, total = Counter(written.made), len(written.made)
    valid = sum(count for text, count in found.items() if text in language) / total
    apart = math.fsum(abs(found[text] / total - chance) for text, chance in language.items())
    return {
        "tv": (apart + 1 - valid) / 2,
        "valid": valid,
        "hit": math.fsum(chance for text, chance in language.items() if text in found),
    }


def of_strings(written: Written) -> dict[str, float]:
    """``distinct``: share of different strings; ``entropy`` of strings, in nats, at most log n of n of them."""
    return {"distinct": len(set(written.made)) / len(written.made), "entropy": _entropy(written.made)}


def of_ngrams(written: Written) -> dict[str, float]:
    """``ngram_tv``: total variation distance between the n-grams of generated and of held-out lines, ``ngram_floor``
    that of as many training lines; ``ngram_precision``: share of generated n-grams that held-out lines have,
    ``ngram_recall``: share of held-out n-grams that generated lines have; ``ngram_misfit``: 0 where ``ngram_tv`` is at
    the floor, 1 where no n-gram is right.
    """
    made, real, held_out = (_ngrams(lines) for lines in (written.made, written.real, written.held_out))
    apart, floor = _apart(made, held_out), _apart(real, held_out)
    return {
        "ngram_tv": apart,
        "ngram_floor": floor,
        "ngram_misfit": max(0.0, (apart - floor) / (1 - floor)),
        "ngram_precision": math.fsum(share for gram, share in made.items() if gram in held_out),
        "ngram_recall": math.fsum(share for gram, share in held_out.items() if gram in made),
    }


def relative_perplexity(written: Written) -> float:
    """Effective number of strings, exp of their entropy (Hill number of order 1), over that of real lines, at most 1.
    Strings outside of the language, where it is known, count as one.
    """
    language, real = written.language, _entropy(written.real)
    made = [text if language is None or text in language else None for text in written.made]
    return min(1.0, math.exp(_entropy(made) - real))


def _entropy(values: Sequence[object]) -> float:
    return -math.fsum(count / len(values) * math.log(count / len(values)) for count in Counter(values).values())


def _ngrams(lines: Iterable[str]) -> dict[str, float]:
    marked = (f"\0{line}\0" for line in lines)
    counts = Counter(line[at : at + N] for line in marked for at in range(max(1, len(line) - N + 1)))
    total = counts.total()
    return {gram: count / total for gram, count in counts.items()}


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return math.fsum(abs(one.get(gram, 0.0) - other.get(gram, 0.0)) for gram in one.keys() | other.keys()) / 2
