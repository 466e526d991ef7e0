"""What a user's file says, with lines, and the code that it names."""
