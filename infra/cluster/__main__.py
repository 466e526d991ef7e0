"""A cluster of namespaces on this machine; needs root.

python -m infra.cluster up DIR [--nodes 3]     start it
python -m infra.cluster on DIR NAME COMMAND…   run a command on a machine: laptop, driver, head, services, node1, …
python -m infra.cluster kill DIR NAME          a power cut
python -m infra.cluster add DIR NAME           a node joins
python -m infra.cluster drain DIR NAME         Ray is told that the node will go
python -m infra.cluster cut DIR NAME SECONDS   no network for a while
python -m infra.cluster down DIR               end all that was started
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from infra.cluster import machines, services
from infra.cluster.cluster import Cluster


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="infra.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["up", "down", "on", "kill", "add", "drain", "cut"])
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="NAME …")
    given = parser.parse_args()
    if reason := machines.missing() or services.missing():
        sys.exit(f"infra.cluster: {reason}")
    if (given.action == "up") == (given.folder / "cluster.json").exists():
        sys.exit(f"infra.cluster: {given.folder} holds {'a cluster already' if given.action == 'up' else 'no cluster'}")
    cluster = Cluster(given.folder)
    match given.action, given.words:
        case "up", []:
            cluster.up(given.nodes)
            for name, value in cluster.environment.items():
                print(f"export {name}={value}")
            print(
                f"# Ray at {cluster.address}, jobs at {cluster.dashboard}; "
                f"a shell: python -m infra.cluster on {given.folder} laptop bash"
            )
        case "down", []:
            cluster.down()
        case "on", [name, *command] if command:
            enter = cluster[name].command(*command)
            os.execvp(enter[0], enter)
        case "kill", [name]:
            cluster.kill(name)
        case "add", [name]:
            cluster.add(name)
        case "drain", [name]:
            cluster.drain(name)
        case "cut", [name, seconds]:
            cluster[name].cut()
            time.sleep(float(seconds))
            cluster[name].join()
        case _:
            parser.error(f"{given.action}: see --help")


if __name__ == "__main__":
    main()
