"""``gansweep sample``: examples from a registered generator or a checkpoint folder, as picture, film or array."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UserError, WorkError
from orchestrator.generators.generator import REGISTERED, Generator, opened

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

STILLS = (".png", ".npy", ".txt")
FILMS = (".gif", ".webp", ".mp4")
CLIPS = 5
"""Axes of an array of clips."""
FRAMES = 16
"""Of a film, between two seeds."""
PER_SECOND = 16


@dataclass(frozen=True)
class SampleOptions:
    """What to draw: an example for each of ``seeds``; with ``classes`` a row of them for each class; with
    ``interpolate`` a film from one to the next; clips of so many ``frames``. ``raw``: of the plain generator instead of
    the averaged one. Code that a checkpoint brings is run where its sha256 is ``trusted``, or that of the same files
    here.
    """

    seeds: Sequence[int]
    label: str | None = None
    raw: bool = False
    truncation: float | None = None
    classes: bool = False
    interpolate: bool = False
    trusted: Sequence[str] = ()
    frames: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the table that a served model takes can say all of it."""
        return not (self.raw or self.truncation or self.classes or self.interpolate)

    def check(self, output: Path) -> None:
        """Raises UserError where it contradicts itself, or ``output`` can't hold it."""
        if output.suffix not in (FILMS if self.interpolate else STILLS + FILMS):
            raise _misnamed(output, FILMS if self.interpolate else STILLS)
        if self.classes and (self.interpolate or self.label is not None):
            raise UserError("--classes draws every class side by side: leave --label and --interpolate out")
        if self.truncation is not None and self.truncation <= 0:
            raise UserError(f"--truncation {self.truncation:g}: must be above 0; 2 changes little, 0.5 much")
        if output.suffix == ".mp4" and not _ffmpeg():
            raise UserError(
                f"-o {output}: no ffmpeg here to write MP4 with: pip install 'gansweep[video]', or take .webp or .gif"
            )


def sample(source: str, options: SampleOptions, output: Path, uri: str) -> tuple[int, ...]:
    """Write what is wished for to ``output`` (.png, .npy; text: .txt; films and clips: .gif, .webp, .mp4); returns an
    example's shape.
    """
    from trainers.pictures import PER_SECOND as CLIPS_PER_SECOND
    from trainers.pictures import draw, film

    options.check(output)
    if source.startswith(REGISTERED) and options.is_plain:
        from orchestrator.registry.drawing import sample as from_registry

        made = from_registry(uri, source, np.array(options.seeds, np.int64), options.label, options.frames)
        window = opened(source, False, (), uri).space.window if _in_units(made) else None
    else:
        generator = opened(source, options.raw, options.trusted, uri)
        made, window = _made(options, generator), generator.space.window
    if output.suffix == ".txt" and made.dtype.kind != "U":
        kinds = ".png, .npy, .gif, .webp or .mp4" if made.ndim == CLIPS else ".png or .npy"
        raise UserError(f"-o {output}: this generator makes no text; take {kinds}")
    if output.suffix in FILMS and not (options.interpolate or made.ndim == CLIPS):
        raise _misnamed(output, STILLS)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.suffix == ".npy":
            np.save(output, made)
        elif output.suffix == ".txt":
            output.write_text("".join(f"{text}\n" for text in made), "utf-8")
        elif options.interpolate:
            _film([draw(frame[None]) for frame in made], output)
        elif output.suffix in FILMS:
            _film(film(made).frames, output, CLIPS_PER_SECOND)
        else:
            picture = draw(made, columns=len(options.seeds) if options.classes else None, window=window)
            picture.save(output, pnginfo=_told(window))
    except OSError as error:
        raise UserError(f"-o {output} can't be written: {error.strerror}") from None
    return made.shape[1:]


def _in_units(made: NDArray[Any]) -> bool:
    """Whether these are pictures of measured values, and no bytes."""
    return made.ndim == 4 and made.dtype != np.uint8


def _told(window: tuple[float, float] | None) -> PngInfo | None:
    """What a picture of 16 bits says of its levels."""
    if window is None:
        return None
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    told.add_text("window", "{:.9g} {:.9g}".format(*window))
    return told


def _made(options: SampleOptions, generator: Generator) -> NDArray[Any]:
    """Examples, in units where they have any, or the frames of a film; of classes row by row."""
    from trainers.sample import asked, conditions, drawn, every_class, latents, length, tabled, walk

    config, space = generator.config, generator.space
    if options.interpolate and space.alphabet:
        raise UserError("--interpolate: there is nothing between one text and the next; leave it out")
    if options.interpolate and space.is_clip:
        raise UserError("--interpolate: clips move by themselves; leave it out")
    window = None if options.interpolate else space.window  # films have 8 bits
    given = latents(config, np.array(options.seeds, np.int64), options.truncation)
    if options.interpolate:
        given = walk(given, FRAMES)
    if options.classes:
        if not config.model.conditional:
            raise UserError("--classes: this generator is not conditional; leave it out")
        every = every_class(space)
        rows, times = [row for row in every for _ in options.seeds], len(every)
        every_seed = np.tile(np.array(options.seeds, np.int64), times)
        labels = conditions(tabled(rows, len(rows), config, space), config, space, every_seed)
        return drawn(generator.module, given.repeat(times, 1), labels, window)
    row, seeds = {} if options.label is None else asked(options.label, config, space), np.array(options.seeds, np.int64)
    if options.interpolate and config.model.conditional:  # else each frame would draw conditions of its own
        row = {c.name: c.names[0] if c.names else c.low for c in space.conditions} | row
        seeds = np.zeros(len(given), np.int64)
    table = tabled(row, len(given), config, space)
    labels = conditions(table, config, space, seeds)
    return drawn(generator.module, given, labels, window, length(config, options.frames))


def _misnamed(output: Path, kinds: Sequence[str]) -> UserError:
    other = " (a film: --interpolate)" if output.suffix in FILMS else ""
    return UserError(f"-o {output}{other}: the name must end in {', '.join(kinds[:-1])} or {kinds[-1]}")


def _film(frames: Sequence[Image], output: Path, per_second: float = PER_SECOND) -> None:
    from trainers.pictures import play

    if output.suffix == ".mp4":
        with tempfile.TemporaryDirectory() as folder:
            for number, frame in enumerate(frames):
                frame.convert("RGB").save(Path(folder) / f"{number:06d}.png")
            _encode(Path(folder), output, per_second)
        return
    play(frames, output, per_second)


def _ffmpeg() -> str | None:
    """The program of this machine, or the one that comes with the extra ``video``."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return shutil.which("ffmpeg")
    return shutil.which("ffmpeg") or get_ffmpeg_exe()


def _encode(folder: Path, output: Path, per_second: float) -> None:
    """The numbered pictures of ``folder`` as H.264 in the colours that every player knows, with even sides."""
    pictures = ["-framerate", str(per_second), "-i", str(folder / "%06d.png")]
    look = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    command = [str(_ffmpeg()), "-y", "-loglevel", "error", *pictures, *look, str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WorkError(f"-o {output}: ffmpeg could not write it ({reason}); take .webp or .gif")
