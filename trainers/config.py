"""The settings of one training as frozen values that refuse wrong states.

Importing this file is cheap on purpose (no torch): the command line, the search and the training all read it.
A dotted name such as ``train.generator_lr`` is the name of a value everywhere: in files, ``--set``, search spaces and
MLflow.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainers.config_data import Data as Data
from trainers.config_data import Intensity as Intensity
from trainers.config_data import Settings as Settings
from trainers.config_data import Share
from trainers.families import FAMILIES
from trainers.files.places import place
from trainers.reading.owncode import digest

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Schedule = Literal["constant", "linear", "cosine"]
TORCHSCRIPT = "torchscript:"
BAD = ("stuck", "collapsed", "diverged")
"""The verdicts that may end a training (``trainers/health.py``)."""


class Model(Settings):
    """Which networks; ``generator`` and ``discriminator`` are names of ``trainers.models`` or dotted paths."""

    generator: str = Field(default="dcgan", description="mlp, dcgan, resnet, r3gan, or ./mynet.py:Net")
    discriminator: str = Field(default="dcgan", description="mlp, maxout, dcgan, resnet, r3gan, or ./mynet.py:Net")
    latent_dim: int = Field(default=64, ge=1, le=4096, description="normal numbers that an example is made from")
    width: int = Field(
        default=32, ge=1, le=2048, description="channels of the finest layer (units of the narrowest in an MLP)"
    )
    depth: int = Field(
        default=3, ge=1, le=32, description="hidden layers of an MLP; residual blocks per stage elsewhere"
    )
    discriminator_width: int | None = Field(
        default=None, ge=1, le=2048, description="where it differs from the generator's"
    )
    discriminator_depth: int | None = Field(
        default=None, ge=1, le=32, description="where it differs from the generator's"
    )
    growth: Literal[1, 2] = Field(default=2, description="factor by which an MLP widens from layer to layer")
    activation: Literal["relu", "leaky_relu", "tanh"] = Field(default="leaky_relu", description="of MLPs")
    generator_norm: Literal["none", "batch"] = Field(
        default="none", description="between the layers of an MLP or DCGAN"
    )
    discriminator_norm: Literal["none", "batch", "spectral"] = Field(
        default="none", description="as for the generator; spectral: Miyato 2018"
    )
    pieces: int = Field(default=5, ge=2, le=16, description="linear units per unit of a maxout discriminator")
    conditional: bool = Field(
        default=False, description="the generator is told class or conditions, the discriminator judges by them"
    )
    conditioning: Literal["projection", "concat"] = Field(
        default="projection", description="how a discriminator is told: at its last features, or beside its input"
    )
    embedding_dim: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="of conditions beside an input; left out: latent_dim in the generator, 8 in the discriminator",
    )
    frequencies: int = Field(
        default=0, ge=0, le=16, description="sines and cosines of a number that is a condition, beside its value"
    )
    label_drop: float = Field(
        default=0.0, ge=0, lt=1, description="share of examples whose conditions no player is told while it learns"
    )


class Train(Settings):
    """How to learn. Images are counted as shown to the discriminator, over all ranks."""

    images: int = Field(default=400_000, ge=1, description="budget of one training, shown to the discriminator")
    batch_size: int = Field(default=64, ge=1, description="global, over all ranks")
    seed: int = Field(default=0, ge=0, description="of weights, latents and the order of the data")
    loss: str = Field(
        default="non_saturating",
        description="minimax, non_saturating, least_squares, hinge, wasserstein, relativistic, or ./mine.py:loss",
    )
    generator_lr: Positive = Field(default=2e-4, description="learning rate of Adam")
    discriminator_lr: Positive = Field(default=2e-4, description="learning rate of Adam")
    beta1: Beta = Field(default=0.5, description="of Adam: share of the mean gradient that is kept at a step")
    beta2: Beta = Field(default=0.999, description="of Adam: share of the mean square that is kept at a step")
    lr_schedule: Schedule = Field(default="constant", description="how both learning rates fall over train.images")
    lr_final: Share = Field(
        default=0.0, description="share of both learning rates left after train.images, unless constant"
    )
    r1_gamma: NonNegative = Field(default=0.0, description="weight of the squared gradient at real examples")
    r2_gamma: NonNegative = Field(default=0.0, description="weight of the squared gradient at generated examples")
    gp_lambda: NonNegative = Field(default=0.0, description="weight of WGAN-GP's penalty between the two")
    penalty_schedule: Schedule = Field(default="constant", description="how the penalties fall over train.images")
    penalty_final: Share = Field(
        default=0.0, description="share of the penalties left after train.images, unless constant"
    )
    penalty_interval: int = Field(
        default=1, ge=1, description="apply gradient penalties every n-th discriminator step, scaled by n"
    )
    n_dis: int = Field(default=1, ge=1, description="discriminator steps per generator step")
    ema_half_life: NonNegative = Field(
        default=10_000, description="of the averaged generator, in images; 0 switches averaging off"
    )
    ema_ramp: NonNegative = Field(
        default=0.05,
        description="the half-life is at most this share of the images shown so far (StyleGAN2-ADA); 0: never shorter",
    )
    mismatched: Share = Field(
        default=0.0,
        description="of conditional models: share of the discriminator's loss at real examples told with a wrong "
        "condition (GAN-CLS: 0.5)",
    )
    balanced: bool = Field(default=False, description="show every class equally often, however rare it is")
    packing: int = Field(default=1, ge=1, le=16, description="examples that the discriminator judges together (PacGAN)")
    augment: tuple[Literal["color", "translation", "cutout", "flip"], ...] = Field(
        default=(), description="what happens to every image that the discriminator sees (DiffAugment)"
    )
    ada_target: Share | None = Field(
        default=None, description="augment with a probability that holds E sign D(real) at this value (ADA: 0.6)"
    )
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="bf16: autocast of the networks")
    compile: bool = Field(default=False, description="compile whole steps: tens of seconds at the start, faster after")


class Translate(Settings):
    """Of ``family: translate``: from the pictures of ``data.source`` to the look of those at ``data.path``."""

    method: Literal["cycle", "cut"] = Field(
        default="cycle",
        description="cycle: CycleGAN (Zhu 2017); cut: one way only, patches keep what tells them apart (Park 2020)",
    )
    lambda_cycle: NonNegative = Field(
        default=10.0, description="weight of the way there and back, in |x - x'|; with cycle"
    )
    lambda_nce: NonNegative = Field(
        default=1.0,
        description="weight of the contrastive loss; with cut (CUT: 0.5 with identity 1; FastCUT: 10 with identity 0)",
    )
    identity: NonNegative = Field(
        default=0.5, description="weight, times lambda_*, of leaving the target's own pictures as they are"
    )
    pool: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="earlier translations that discriminators see among new ones; with cycle",
    )
    temperature: Positive = Field(default=0.07, description="of the contrastive loss; with cut")
    patches: int = Field(
        default=256, ge=2, le=4_096, description="places of a picture that are told apart, per layer; with cut"
    )

    @property
    def weights(self) -> dict[str, float]:
        """Of each term of the translators' loss. The papers' squares are not halved, those of ``least_squares`` are."""
        name, kept = {"cycle": ("cycle", self.lambda_cycle), "cut": ("contrast", self.lambda_nce)}[self.method]
        return {"adversarial": 2.0, name: kept, "identity": kept * self.identity}


class Evaluate(Settings):
    """When and what to measure. Every report also writes a checkpoint and a grid of samples."""

    every_images: int = Field(default=50_000, ge=1, description="between two reports, shown to the discriminator")
    samples: int = Field(default=1_000, ge=16, description="generated images per evaluation")
    real_samples: int = Field(default=10_000, ge=16, description="real images that they are compared with, at most")
    metrics: tuple[str, ...] = Field(
        default=("fid", "coverage"),
        description="fid, kid, coverage, density, precision, recall, diversity or ./mine.py:measure; all are listed in "
        "METRICS of trainers/metrics/table.py",
    )
    extractor: str = Field(
        default="auto",
        description="what turns images into features: auto (chosen by the data set), raw, digits-cnn, painted-cnn, "
        "random-conv, moving-reader, reader, or torchscript:FILE (also from s3://)",
    )
    extractor_sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="of a TorchScript file, which runs code when it is loaded"
    )
    resize: int | None = Field(
        default=None, ge=1, le=1024, description="side to which images are brought for a TorchScript file"
    )

    @field_validator("extractor")
    @classmethod
    def _known_place(cls, extractor: str) -> str:
        head, file = TORCHSCRIPT, extractor.removeprefix(TORCHSCRIPT)
        return extractor if file == extractor else head + place(file)


class Health(Settings):
    """What a verdict does to the training that earned it."""

    stop: Literal["collapsed", "diverged", "never"] = Field(
        default="collapsed",
        description="collapsed: stop when collapsed, stuck or diverged; diverged: only when diverged",
    )

    rewind: int = Field(
        default=0, ge=0, le=10, description="times to go back to the last healthy state, with calmer settings, instead"
    )

    def stops(self, verdict: str) -> bool:
        """Whether a training that earned ``verdict`` ends there."""
        return verdict in {"collapsed": BAD, "diverged": ("diverged",), "never": ()}[self.stop]


class Autoencode(Settings):
    """Of the family ``autoencode``: how codes and their pictures are learned."""

    method: Literal["ae", "vae", "vae-gan"] = Field(
        default="vae", description="without a prior; with it; with it and a discriminator (Larsen 2016)"
    )
    beta: NonNegative = Field(default=1.0, description="weight of the code's KL divergence from the prior (beta-VAE)")
    warmup: Share = Field(
        default=0.0, description="share of train.images over which that weight rises from 0, along a line"
    )
    noise: Literal["learned"] | Positive = Field(
        default="learned", description="standard deviation of pixels given a code; learned: sigma-VAE"
    )
    reconstruction: Literal["pixel", "feature"] = Field(
        default="pixel", description="what is compared: pixels, or the last features of the discriminator"
    )
    gamma: NonNegative = Field(
        default=0.1, description="weight of the reconstruction against the discriminator's loss, in the decoder"
    )


class Text(Settings):
    """Of the family ``text``: how a generator learns to write."""

    method: Literal["gan", "mle"] = Field(
        default="gan", description="from a discriminator; or by maximum likelihood, the twin to compare it with"
    )
    tau: Positive = Field(
        default=1.0, description="temperature of the Gumbel softmax whose gradient a drawn character has"
    )


class Video(Settings):
    """Of the family ``video``: what moves, and who looks at it."""

    motion_dim: int = Field(
        default=8, ge=1, le=1024, description="of model.latent_dim: numbers that a motion is made of"
    )
    motion: Literal["codes", "shift", "both"] = Field(
        default="codes",
        description="each frame is drawn from content and motion (MoCoGAN); one picture is shifted; both",
    )
    width: int = Field(default=64, ge=1, le=2048, description="units of the recurrent cell that unrolls it")
    seen: int = Field(
        default=3, ge=2, le=64, description="frames that the discriminator of motion sees at once, evenly apart"
    )
    frame_weight: NonNegative = Field(
        default=1.0, description="of the discriminator of single frames, beside that of motion; 0: there is none"
    )


class Config(Settings):
    """One training: everything that decides its outcome, beside the world it runs in."""

    family: str = Field(default="gan", description=f"what kind of training: {', '.join(FAMILIES)}")
    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    translate: Translate = Translate()
    evaluate: Evaluate = Evaluate()
    health: Health = Health()
    autoencode: Autoencode = Autoencode()
    text: Text = Text()
    video: Video = Video()
    code: dict[str, dict[str, str]] = Field(
        default={}, description="the user's own code by its sha256, filled in from the files that settings name"
    )

    @field_validator("family")
    @classmethod
    def _known_family(cls, family: str) -> str:
        if family in FAMILIES:
            return family
        close = difflib.get_close_matches(family, FAMILIES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown family {family!r}{hint} (known: {', '.join(FAMILIES)})")

    @field_validator("code")
    @classmethod
    def _unchanged(cls, code: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for sha, bundle in code.items():
            if digest(bundle) != sha:
                raise ValueError(f"{', '.join(bundle)}: the sources have changed since they got the sha256 {sha[:12]}…")
        return code

    @property
    def penalised(self) -> bool:
        """Whether the discriminator is under a gradient penalty, or may come under one: a rewind brings one."""
        train = self.train
        return max(train.r1_gamma, train.r2_gamma, train.gp_lambda) > 0 or self.health.rewind > 0
