"""The scenario: a cluster of namespaces, sweeps on it, and what may happen to machines while they run.

    python -m infra.cluster.scenario DIR [--only ACT …] [--out FILE]

Each act drives a sweep, disturbs it, and verifies it against the sweep of the first act, which nothing disturbs. FILE
gets what was seen as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from infra.cluster import machines, services
from infra.cluster.cluster import Cluster
from infra.cluster.play import Play, curve, left_behind, ranks_on, training_on
from infra.cluster.services import wait_for


@dataclass
class Outcome:
    """What was seen in an act. ``figures`` are seconds, by what they measure."""

    faults: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    note: str = ""


class Scenario:
    """The acts, in the order in which they are played, on one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.calm: dict[str, Any] | None = None
        self._left: set[str] = set()
        self._mark = secrets.token_hex(2)  # names of an earlier play on the same cluster are taken

    def undisturbed(self) -> Outcome:
        """One sweep, two ranks a trial, each on a node of its own."""
        play = self._play("calm")
        play.submit()
        play.wait_for_report(4_096)
        nodes = training_on(self.cluster)
        outcome = self._end(play)
        outcome.note = f"a trial's ranks on {' and '.join(nodes)}"
        if len(nodes) < 2:
            outcome.faults.append(f"both ranks on {nodes}")
        self.calm = play.verify()
        return outcome

    def rank_hung(self) -> Outcome:
        """A rank is stopped, and its process stays."""
        play = self._under_way("hung")
        node = training_on(self.cluster)[-1]
        began = time.monotonic()
        os.kill(ranks_on(self.cluster, node)[0], signal.SIGSTOP)
        figures = {"until the next report": self._next_report(play, began)}
        return self._end(play, figures)

    def node_killed(self) -> Outcome:
        """A power cut on a node that trains, of which another takes the place; later it comes back."""
        play = self._under_way("killed")
        lost = training_on(self.cluster)[-1]
        began, address = time.monotonic(), self.cluster[lost].address
        self.cluster.kill(lost)
        wait_for("Ray to miss the node", lambda: address not in self.cluster.nodes())
        figures = {"until Ray knew": time.monotonic() - began}
        figures["until the next report"] = self._next_report(play, began)
        outcome = self._end(play, figures)
        self.cluster.add(lost)
        return outcome

    def node_drained(self) -> Outcome:
        """A node's capacity is taken back: a notice, 40 s later the power cut."""
        play = self._under_way("drained")
        leaving = training_on(self.cluster)[-1]
        began = time.monotonic()
        self.cluster.drain(leaving, 40)
        figures = {"until the next report": self._next_report(play, began)}
        time.sleep(max(0.0, began + 40 - time.monotonic()))
        still = leaving in training_on(self.cluster)
        self.cluster.kill(leaving)
        outcome = self._end(play, figures)
        if still:
            outcome.faults.append(f"a rank still trained on {leaving} at the end of its notice")
        self.cluster.add(leaving)
        return outcome

    def node_terminated(self) -> Outcome:
        """A node's Ray gets SIGTERM, as from Kubernetes, and ends within 40 s; then the power cut."""
        play = self._under_way("terminated")
        leaving = training_on(self.cluster)[-1]
        began = time.monotonic()
        self.cluster.terminate(leaving)
        figures = {"until its rank had left": self._until("a rank to leave", began, lambda: not self._trains(leaving))}
        told = play.reports()
        what = {"until its Ray had ended": lambda: not self.cluster.has_ray(leaving)}
        figures |= self._moments(began, what | {"until the next report": lambda: play.reports() > told})
        self.cluster.kill(leaving)
        outcome = self._end(play, figures)
        if figures["until its Ray had ended"] > 40:
            outcome.faults.append("Ray had not ended by itself after 40 s")
        self.cluster.add(leaving)
        return outcome

    def node_added(self) -> Outcome:
        """Two nodes hold one trial at a time; two more join while it trains, and the next trial begins there."""
        self._power_off("node3")
        play = self._under_way("grown", images=131_072)
        began = time.monotonic()
        for name in ("node3", "node4"):
            self.cluster.add(name)
        figures = {"until both stood": time.monotonic() - began}
        figures["until both trials trained"] = self._until("two trials at once", began, lambda: self._both_train(play))
        states = [trial["state"] for trial in play.status()["trials"]]
        outcome = self._end(play, figures, self._alone(play))
        if states != ["running", "running"]:
            outcome.faults.append(f"when both trained, status had them {' and '.join(states)}")
        self._power_off("node4")
        return outcome

    def network_cut(self) -> Outcome:
        """A node that trains has no network for 30 s, and comes back as a zombie."""
        play = self._under_way("cut")
        cut = training_on(self.cluster)[-1]
        began = time.monotonic()
        self.cluster[cut].cut()
        time.sleep(30)
        self.cluster[cut].join()
        outcome = self._end(play, {"until the next report": self._next_report(play, began)})
        self.cluster.kill(cut)  # its Ray has ended; the machine starts afresh
        self.cluster.add(cut)
        return outcome

    def driver_killed(self) -> Outcome:
        """The machine that drives is lost; another takes over at once."""
        self._stand_by()
        play = self._under_way("taken")
        self.cluster.kill("driver")
        began = time.monotonic()
        play.take_over(at="driver2")
        figures = {}
        play.wait_for("at once")  # it has the sweep, and places for its trials
        figures["until another drove"] = time.monotonic() - began
        figures["until the next report"] = self._next_report(play, began)
        outcome = self._end(play, figures)
        self.cluster.add("driver", cpus=0)
        return outcome

    def driver_wakes(self) -> Outcome:
        """The machine that drives sleeps, as a laptop does, until another has taken over; then it wakes up."""
        self._stand_by()
        play, driver = self._under_way("slept"), self.cluster["driver"]
        outcome = self._sleeps(play, driver.sleep, driver.wake)
        self.cluster.kill("driver")  # its Ray has ended; the machine starts afresh
        self.cluster.add("driver", cpus=0)
        return outcome

    def driver_stalls(self) -> Outcome:
        """Only the driver is stopped, as by Ctrl-Z, and Ray hears no more of it than of one that waits."""
        self._stand_by()
        play = self._under_way("stalled")
        processes, driver = play.processes(), self.cluster["driver"]
        return self._sleeps(play, lambda: driver.sleep(processes), driver.wake)

    def _sleeps(self, play: Play, sleep: Callable[[], None], wake: Callable[[], None]) -> Outcome:
        """Its driver is woken in the middle of what its heir trains."""
        slept, before = play.driver, play.output()
        sleep()
        began = time.monotonic()
        play.take_over(at="driver2")
        play.wait_for("at once")
        figures = {"until another drove": time.monotonic() - began}
        figures["until the next report"] = self._next_report(play, began)
        wake()
        woke = time.monotonic()
        status = slept.wait(timeout=120)
        figures["from waking to its end"] = time.monotonic() - woke
        outcome = self._end(play, figures)
        said = play.output(at="driver").removeprefix(before).strip()
        if status != 1 or "was taken over by" not in said or "\n" in said:
            outcome.faults.append("who woke did not end by itself with one message")
        outcome.note = f"who woke ended with status {status}: {said}"
        return outcome

    def two_at_once(self) -> Outcome:
        """Two sweeps on one cluster."""
        first, second = self._play("one"), self._play("other")
        first.submit()
        second.submit()
        outcome, other = self._end(first), self._end(second)
        outcome.faults += other.faults
        return outcome

    def from_the_laptop(self) -> Outcome:
        """As a job: submitted, looked at, stopped, resumed, promoted and sampled where only a profile is."""
        play = self._play("sent", trials=8, at="laptop")
        play.submit("--detach")
        if play.finish():
            raise AssertionError(f"not sent: {play.output()}")
        wait_for("a report", play.has_begun)
        wait_for("a log of rank 0", lambda: "rank 0 on" in play.ask("logs", play.name))  # copied every few seconds
        play.ask("stop", play.name)
        wait_for("the sweep to stop", lambda: play.status()["state"] == "stopped")
        stopped = sum(trial["images"] for trial in play.status()["trials"])
        play.take_over(at="laptop")
        outcome = self._end(play)
        play.ask("promote", play.name, "--force", "--reason", "trained for seconds only")
        play.ask("sample", f"models:/{play.name}@champion", "-n", "64", "-o", "samples.npy")
        drawn = self.cluster["laptop"].folder / "home/samples.npy"
        outcome.note = f"stopped after {stopped:,} images; {drawn.stat().st_size:,} bytes of samples"
        return outcome

    def head_killed(self) -> Outcome:
        """Ray's head is lost, and with it all of Ray; a new head, the nodes join it, the sweep goes on."""
        play = self._under_way("headless")
        self.cluster.kill("head")
        began = time.monotonic()
        status = play.finish()
        figures = {"until the driver gave up": time.monotonic() - began}
        said = play.output().strip().splitlines()[-1]
        for name in self.cluster.running():
            if name.startswith(("node", "driver")):
                self.cluster.kill(name)
        self.cluster.start_head()
        for name in ("driver", "node1", "node2", "node3"):
            self.cluster.add(name, cpus=0 if name == "driver" else 1)
        figures["until the new cluster stood"] = time.monotonic() - began
        began = time.monotonic()
        play.take_over(at="driver")
        figures["from there until the next report"] = self._next_report(play, began)
        outcome = self._end(play, figures)
        outcome.note = f"the driver ended with status {status}: {said}"
        return outcome

    def _play(self, name: str, **more: Any) -> Play:
        return Play(self.cluster, f"{name}-{self._mark}", **more)

    def _under_way(self, name: str, **more: Any) -> Play:
        play = self._play(name, **more)
        play.submit()
        play.wait_for_report(8_192)
        return play

    def _stand_by(self) -> None:
        """Another machine from which sweeps can be driven."""
        if "driver2" not in self.cluster.running():
            self.cluster.add("driver2", cpus=0)

    def _power_off(self, name: str) -> None:
        """Returns when Ray has missed it."""
        address = self.cluster[name].address
        self.cluster.kill(name)
        wait_for("Ray to miss the node", lambda: address not in self.cluster.nodes())

    def _trains(self, name: str) -> bool:
        return bool(ranks_on(self.cluster, name))

    def _both_train(self, play: Play) -> bool:
        """Whether two trials have reported, and four nodes have a rank each."""
        told = play.output()
        return "trial 0  4,096" in told and "trial 1  4,096" in told and len(training_on(self.cluster)) == 4

    def _alone(self, play: Play) -> dict[str, Any]:
        """The curves of the same trainings without a sweep, on the laptop, once it has ended."""
        play.finish()
        laptop, curves = self.cluster["laptop"], {}
        for trial in play.status()["trials"]:
            log = f"{play.name}-{trial['id']}.jsonl"
            laptop.spawn(*play.train(trial), log=log).wait(timeout=240)  # status 1 where it collapses
            curves[str(trial["id"])] = curve((laptop.folder / log).read_text())
        return {"best": None, "curves": curves}

    def _until(self, what: str, began: float, happened: Callable[[], bool]) -> float:
        """Seconds from ``began`` until it has."""
        wait_for(what, happened, 240)
        return time.monotonic() - began

    def _moments(self, began: float, happenings: dict[str, Callable[[], bool]]) -> dict[str, float]:
        """Seconds from ``began`` until each has happened, in whatever order."""
        seen: dict[str, float] = {}

        def all_seen() -> bool:
            seen.update({what: time.monotonic() - began for what in happenings.keys() - seen if happenings[what]()})
            return len(seen) == len(happenings)

        wait_for(" and ".join(happenings), all_seen, 240)
        return seen

    def _next_report(self, play: Play, began: float) -> float:
        """Seconds from ``began`` until the sweep tells of progress again."""
        told = play.reports()
        wait_for("the next report", lambda: play.reports() > told, 240)
        return time.monotonic() - began

    def _end(self, play: Play, figures: dict[str, float] | None = None, calm: dict[str, Any] | None = None) -> Outcome:
        """Wait for the sweep's end and compare it with the undisturbed one, or with ``calm``."""
        status, calm = play.finish(), calm or self.calm
        outcome = Outcome(figures=figures or {})
        if status:
            outcome.faults.append(f"exit status {status}: {play.output()[-600:]}")
        seen = play.verify()
        outcome.faults += seen["faults"]
        if seen["state"] != "finished":
            outcome.faults.append(f"the sweep is {seen['state']}")
        if calm:
            is_same = calm["best"] and seen["curves"].keys() == calm["curves"].keys()
            if is_same and seen["best"] != calm["best"]:
                outcome.faults.append(f"best {seen['best']}, undisturbed {calm['best']}")
            other = [trial for trial, curve in calm["curves"].items() if seen["curves"].get(trial) != curve]
            if other:
                outcome.faults.append(f"curves of trials {', '.join(other)} differ from the undisturbed ones")
        deadline = time.monotonic() + 20
        while (left := left_behind(self.cluster) - self._left) and time.monotonic() < deadline:
            time.sleep(0.5)
        self._left |= left  # each fault is told once
        outcome.faults += sorted(left)
        return outcome


ACTS: tuple[Callable[[Scenario], Outcome], ...] = (
    Scenario.undisturbed,
    Scenario.rank_hung,
    Scenario.node_killed,
    Scenario.node_drained,
    Scenario.node_terminated,
    Scenario.node_added,
    Scenario.network_cut,
    Scenario.driver_killed,
    Scenario.driver_wakes,
    Scenario.driver_stalls,
    Scenario.two_at_once,
    Scenario.from_the_laptop,
    Scenario.head_killed,
)


def play(cluster: Cluster, acts: list[str], say: Callable[[str], None] = print) -> dict[str, Outcome]:
    """Play the named acts, all where none is named, and the undisturbed one before them."""
    scenario = Scenario(cluster)
    seen: dict[str, Outcome] = {}
    for act in ACTS:
        name = act.__name__
        if acts and name not in (*acts, "undisturbed"):
            continue
        began = time.monotonic()
        try:
            seen[name] = act(scenario)
        except (AssertionError, TimeoutError, RuntimeError, OSError, IndexError, subprocess.SubprocessError) as error:
            seen[name] = Outcome(["\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])])
        seen[name].figures["in all"] = time.monotonic() - began
        figures = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in seen[name].figures.items())
        say(f"{name}: {'; '.join(seen[name].faults) or 'as it must be'} ({figures}) {seen[name].note}".rstrip())
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--only", nargs="+", default=[], choices=[act.__name__ for act in ACTS])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if reason := machines.missing() or services.missing():
        sys.exit(f"infra.cluster: {reason}")
    with Cluster(given.folder) as cluster:
        if not cluster.running():
            cluster.up()
        seen = play(cluster, given.only, lambda line: print(line, flush=True))
    if given.out:
        given.out.write_text(json.dumps({act: asdict(outcome) for act, outcome in seen.items()}, indent=1) + "\n")
    sys.exit(any(outcome.faults for outcome in seen.values()))


if __name__ == "__main__":
    main()
