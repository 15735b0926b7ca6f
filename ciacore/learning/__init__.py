"""Learning: agents, exploration, playing, remembering, and one update after another. It knows no game."""
