"""The built-in losses by what they read: names, parameters, summaries; never imports torch."""
