"""Generative adversarial networks: from latents, and classes if they are told, to examples."""
