"""Who else hears of a sweep: a webhook or a command, and Prometheus."""
