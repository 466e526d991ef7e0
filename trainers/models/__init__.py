"""Networks by name.

A generator is called as ``generator(latents (n, latent_dim), labels (n,) or None) -> examples (n, *shape)``, a
discriminator as ``discriminator(examples, labels) -> logits (n, 1)``; of data whose conditions are columns, labels are
(n, columns). Both are built as ``Name(settings.model, space)``; so is your own, named by a dotted path
``package.module:Class``. A translator is called with pictures instead of latents, and its critics answer with logits
(n, patches). A generator of text gives code points (n, length); its discriminator judges one-hot text.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainers.config import Config, Model
from trainers.data.dataset import Space
from trainers.errors import UnusableSettingError
from trainers.models.dcgan import DcganDiscriminator, DcganGenerator
from trainers.models.mlp import MaxoutDiscriminator, MlpDiscriminator, MlpGenerator
from trainers.models.r3gan import R3ganDiscriminator, R3ganGenerator
from trainers.models.resnet import ResnetDiscriminator, ResnetGenerator
from trainers.models.sequences import Conv1dDiscriminator, LstmGenerator
from trainers.models.translators import PatchDiscriminator, ResnetTranslator
from trainers.randomness import key
from trainers.reading.registry import lookup

Builder = Callable[[Model, Space], nn.Module]

GENERATORS: dict[str, Builder] = {
    "mlp": MlpGenerator,
    "dcgan": DcganGenerator,
    "resnet": ResnetGenerator,
    "r3gan": R3ganGenerator,
}
DISCRIMINATORS: dict[str, Builder] = {
    "mlp": MlpDiscriminator,
    "maxout": MaxoutDiscriminator,
    "dcgan": DcganDiscriminator,
    "resnet": ResnetDiscriminator,
    "r3gan": R3ganDiscriminator,
}

TRANSLATORS: dict[str, Builder] = {"resnet": ResnetTranslator}
PATCH_DISCRIMINATORS: dict[str, Builder] = {"patch": PatchDiscriminator}

TEXT_GENERATORS: dict[str, Builder] = {"lstm": LstmGenerator}
TEXT_DISCRIMINATORS: dict[str, Builder] = {"conv1d": Conv1dDiscriminator}


def build_generator(settings: Model, space: Space, seed: int = 0) -> nn.Module:
    """The generator of these settings, its first weights drawn from ``seed``."""
    return _build(lookup(GENERATORS, settings.generator, "model.generator"), settings, space, key(seed, "generator"))


def build_discriminator(settings: Model, space: Space, seed: int = 0) -> nn.Module:
    """The discriminator of these settings, its first weights drawn from ``seed``."""
    builder = lookup(DISCRIMINATORS, settings.discriminator, "model.discriminator")
    return _build(builder, settings, space, key(seed, "discriminator"))


def build_translator(settings: Model, space: Space, seed: int, way: str) -> nn.Module:
    """A translator of these settings; the ways to and back differ in their first weights."""
    builder = lookup(TRANSLATORS, settings.generator, "model.generator")
    return _build(builder, settings, space, key(seed, "translator", way))


def build_patch_discriminator(settings: Model, space: Space, seed: int, domain: str) -> nn.Module:
    """A critic of a domain's pictures."""
    builder = lookup(PATCH_DISCRIMINATORS, settings.discriminator, "model.discriminator")
    return _build(builder, settings, space, key(seed, "critic", domain))


def build_text_generator(settings: Model, space: Space, seed: int = 0) -> LstmGenerator:
    """A generator of text of these settings, its first weights drawn from ``seed``."""
    builder = lookup(TEXT_GENERATORS, settings.generator, "model.generator")
    made = _build(builder, settings, space, key(seed, "generator"))
    assert isinstance(made, LstmGenerator)
    return made


def build_text_discriminator(settings: Model, space: Space, seed: int = 0) -> nn.Module:
    """A discriminator of one-hot text."""
    builder = lookup(TEXT_DISCRIMINATORS, settings.discriminator, "model.discriminator")
    return _build(builder, settings, space, key(seed, "discriminator"))


def probe(config: Config, generator: nn.Module, discriminator: nn.Module, space: Space) -> None:
    """Tries a pair of networks from outside on four examples. Raises UnusableSettingError where they cannot train.

    Their shapes must fit each other; the discriminator must be differentiable, under a gradient penalty twice.
    """
    labels = None
    if config.model.conditional:
        labels = torch.zeros(4, len(space.columns)) if space.columns else torch.zeros(4, dtype=torch.long)
    packing = config.train.packing
    made = _tried("generator", config.model.generator, generator, torch.zeros(4, config.model.latent_dim), labels)
    if made.shape != (4, *space.shape):
        message = f"makes examples of shape {tuple(made.shape[1:])}, the data has {space.shape}"
        raise UnusableSettingError(f"model.generator: {config.model.generator!r} {message}")
    packs = torch.zeros(4, *space.packed(packing).shape, requires_grad=True)
    logits = _tried("discriminator", config.model.discriminator, discriminator, packs, labels)
    if logits.shape != (4, 1):
        message = f"answers with shape {tuple(logits.shape)} to 4 examples; one logit each, (4, 1), is needed"
        raise UnusableSettingError(f"model.discriminator: {config.model.discriminator!r} {message}")
    _differentiate(config, packs, logits)


def _tried(player: str, name: str, network: nn.Module, inputs: Tensor, labels: Tensor | None) -> Tensor:
    try:
        outputs: Tensor = network(inputs, labels)
    except Exception as error:  # whatever the code from outside raises
        message = f"fails on inputs of shape {tuple(inputs.shape)}: {type(error).__name__}: {error}"
        raise UnusableSettingError(f"model.{player}: {name!r} {message}") from error
    return outputs


def parameter_counts(config: Config, space: Space) -> dict[str, int]:
    """The number of trained values of generator and discriminator; builds nothing that takes memory."""
    with torch.device("meta"):
        generator = build_generator(config.model, space)
        discriminator = build_discriminator(config.model, space.packed(config.train.packing))
    networks = {"generator": generator, "discriminator": discriminator}
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


def _differentiate(config: Config, packs: Tensor, logits: Tensor) -> None:
    name = f"model.discriminator: {config.model.discriminator!r}"
    try:
        (gradients,) = torch.autograd.grad(logits.sum(), packs, create_graph=config.penalised)
    except RuntimeError as error:
        raise UnusableSettingError(
            f"{name} has no gradient at its input, so no generator can learn from it ({error})"
        ) from error
    try:
        if config.penalised:
            torch.autograd.backward(gradients.square().sum() + logits.sum())
    except RuntimeError as error:
        way_out = "use smooth operations, or set r1_gamma, r2_gamma, gp_lambda and health.rewind to 0"
        message = f"can't be differentiated twice, which a gradient penalty needs ({error}); {way_out}"
        raise UnusableSettingError(f"{name} {message}") from error


def _build(builder: Builder, settings: Model, space: Space, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # torch's initialisers know only the global generator
        torch.manual_seed(seed)
        # Convolutions with the channels innermost: a tenth faster on a CPU, and what bf16 wants on a GPU.
        return builder(settings, space).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
