"""Learning: agents, exploration, rollout, replay and updates. It knows no game."""
