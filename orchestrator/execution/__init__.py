"""Legs trained on warm gangs. Ray lives here, and only here."""
