"""The judge of translations: held-out pictures of the source, translated, against real ones of the target."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Dataset
from trainers.metrics import Evaluator, RemoteCache
from trainers.metrics.evaluator import Generator
from trainers.metrics.table import Comparison
from trainers.metrics.translation import Translated, styles
from trainers.world import World

RIVAL = "identity_"
"""Before the name of each measure asked for, as it is where pictures are left as they are: what it scores proves
nothing.
"""


class TranslationJudge(Evaluator):
    """Adds style to what is seen of translations, the classes of their inputs, and the rival's numbers."""

    def __init__(self, config: Config, dataset: Dataset, world: World, remote_cache: RemoteCache | None = None) -> None:
        assert dataset.source is not None
        held_out = dataset.source.test[torch.arange(min(len(dataset.source.test), config.evaluate.samples))]
        super().__init__(config, dataset, world, remote_cache, inputs=(held_out.floats(),))
        self._labels = held_out.labels
        chosen = torch.arange(min(len(dataset), config.evaluate.real_samples))
        self._real_styles = styles(dataset.train[chosen].floats()).cpu()
        self._of_rival: dict[str, float] = {}
        self._of_rival = {f"{RIVAL}{name}": value for name, value in self(nn.Identity()).items()}

    def __call__(
        self, generator: Generator, plain: Generator | None = None, critic: nn.Module | None = None
    ) -> dict[str, float]:
        """The measures of a translator from source to target, beside those of leaving pictures as they are."""
        return super().__call__(generator, plain, critic) | self._of_rival

    def _seen(self, made: Tensor) -> Tensor:
        features = super()._seen(made)
        return torch.cat((features, styles(made.float()).to(features.device)), 1)

    def _comparison(self, fake: Tensor, count: int) -> Comparison:
        features, style = torch.tensor_split(fake[:count], (-self._real_styles.shape[1],), dim=1)
        labels = None if self._labels is None else self._labels[:count]
        translated = Translated(labels, style, self._real_styles)
        return super()._comparison(features, count)._replace(translated=translated, asked=labels)
