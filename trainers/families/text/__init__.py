"""Text, character by character: a GAN through straight-through Gumbel softmax, and its twin of maximum likelihood."""
