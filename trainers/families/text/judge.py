"""From a generator of text to its numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Dataset
from trainers.data.lines import strings_of
from trainers.metrics import Evaluator, RemoteCache
from trainers.metrics.evaluator import PLAIN, Generator
from trainers.metrics.table import Comparison
from trainers.metrics.text import Written
from trainers.world import World

NGRAMS = ("ngram_misfit", "ngram_recall")


class TextJudge(Evaluator):
    """Adds the strings to what is seen of text. The verdict and the gate hear the worse misfit of features and n-grams;
    what the verdict hears as coverage is the share of held-out n-grams that generated text has too.
    """

    watches = ("misfit", "mode_diversity", *NGRAMS)
    of_plain = (*PLAIN, *NGRAMS)

    def __init__(self, config: Config, dataset: Dataset, world: World, remote_cache: RemoteCache | None = None) -> None:
        super().__init__(config, dataset, world, remote_cache)
        self._length, self._language, most = dataset.space.shape[0], dataset.language, config.evaluate.real_samples
        train, self._held_out = (
            strings_of(rows[torch.arange(min(len(rows), most))].values).tolist()
            for rows in (dataset.train, dataset.test)
        )
        self._train: list[str] = train

    def __call__(
        self, generator: Generator, plain: Generator | None = None, critic: nn.Module | None = None
    ) -> dict[str, float]:
        """The measures of a generator that makes code points (n, length) of latents."""
        metrics = super().__call__(generator, plain, critic)
        for found in (metrics, self.watched):
            for prefix in ("", "raw_"):
                if (ngrams := found.get(f"{prefix}ngram_misfit")) is not None:
                    found[f"{prefix}misfit"] = max(ngrams, found.get(f"{prefix}misfit", 0.0))
        if "ngram_recall" in self.watched:
            self.watched["coverage"] = self.watched["ngram_recall"]
        return metrics

    def _seen(self, made: Tensor) -> Tensor:
        return torch.cat((self._real.extractor(made), made.float()), 1)

    def _comparison(self, fake: Tensor, count: int) -> Comparison:
        features, points = torch.tensor_split(fake[:count], (-self._length,), dim=1)
        made = strings_of(points.long()).tolist()
        written = Written(made, self._train[:count], self._held_out, self._language)
        return super()._comparison(features, count)._replace(written=written)
