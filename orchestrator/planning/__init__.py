"""Before a sweep runs: the data looked at, a first sweep file, the settings explained, and what they will cost."""
