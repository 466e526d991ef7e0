"""Places, caches, and folders that are whole or absent."""
