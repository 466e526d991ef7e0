"""What to train next, and what is known so far. Optuna lives here, and only here."""
