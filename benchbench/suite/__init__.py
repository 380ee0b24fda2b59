"""A suite file becomes a checked `Suite`; errors carry the line and a suggestion."""
