"""GAN training in plain PyTorch: networks, losses, data, measures and one loop. Runs alone; knows nothing of Ray,
MLflow, Optuna or S3.
"""
