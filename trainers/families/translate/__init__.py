"""Unpaired translation: pictures of one domain in, the same pictures in another's look out."""
