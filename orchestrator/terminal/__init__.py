"""What a person sees: tables on a terminal, plain lines in a pipe, a picture of a sweep as it runs."""
