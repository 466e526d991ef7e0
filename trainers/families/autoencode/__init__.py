"""Autoencoder, VAE and VAE-GAN: pictures to codes and back, and from codes of the prior to new pictures."""
