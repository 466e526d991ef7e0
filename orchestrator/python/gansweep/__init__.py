"""Hyper-parameter sweeps for GANs that end in a generator you can trust, from Python.

    import gansweep

    sweep = gansweep.submit("digits.yaml")      # or a dict, or a gansweep.Sweep; gansweep.load("digits") finds it again
    sweep.wait().trials                         # a DataFrame
    sweep.promote()
    images = gansweep.Generator.load("models:/digits@champion").sample(64)

The words are those of the command line. Nothing heavy is imported before it is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api import augment as augment
    from orchestrator.api import doctor as doctor
    from orchestrator.api import init as init
    from orchestrator.api import load as load
    from orchestrator.api import plan as plan
    from orchestrator.api import serve as serve
    from orchestrator.api import submit as submit
    from orchestrator.api import sweeps as sweeps
    from orchestrator.api import train as train
    from orchestrator.api import ui as ui
    from orchestrator.client.handle import Handle as Handle
    from orchestrator.client.reports import TrialReport as TrialReport
    from orchestrator.errors import GansweepError as GansweepError
    from orchestrator.errors import UserError as UserError
    from orchestrator.errors import WorkError as WorkError
    from orchestrator.generators.augmenting import Augmented as Augmented
    from orchestrator.generators.generator import Generator as Generator
    from orchestrator.planning.explained import settings as settings
    from orchestrator.spec import Sweep as Sweep
    from orchestrator.training import Trained as Trained
    from trainers.data.pack import pack as pack
    from trainers.reading.document import SettingsError as SettingsError

    __version__: str

_ROOMS = {
    "orchestrator.api": "augment doctor init load plan serve submit sweeps train ui",
    "orchestrator.generators.augmenting": "Augmented",
    "orchestrator.errors": "GansweepError UserError WorkError",
    "orchestrator.planning.explained": "settings",
    "orchestrator.generators.generator": "Generator",
    "orchestrator.client.handle": "Handle",
    "orchestrator.client.reports": "TrialReport",
    "orchestrator.spec": "Sweep",
    "orchestrator.training": "Trained",
    "trainers.data.pack": "pack",
    "trainers.reading.document": "SettingsError",
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}


if not TYPE_CHECKING:  # it would make every name right for a type checker

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return import_module("trainers.files.sealed").own_version()
        if name not in _ROOM_OF:
            raise AttributeError(f"module 'gansweep' has no attribute {name!r}")
        return getattr(import_module(_ROOM_OF[name]), name)


def __dir__() -> list[str]:
    return [*_ROOM_OF, "__version__"]
