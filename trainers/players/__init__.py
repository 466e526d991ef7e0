"""What adversarial families are built of: players with Adam and averages, penalties, views, means over steps."""
