"""A package, so that ``tests.benchmarks`` is found also where a library installs a package of this name."""
