"""What a plugin's author tests with: each component's contract as checks whose messages say what to change."""
