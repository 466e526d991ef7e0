"""Sweeps over GAN trainings: one file in, a generator you can trust out. Start reading at ``orchestrator/sweep.py``."""
