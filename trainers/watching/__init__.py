"""Who watches a training on its way: a person at a terminal, or another thread."""
