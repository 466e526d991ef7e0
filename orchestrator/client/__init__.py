"""A sweep in a person's hands, from Python and in notebooks."""
