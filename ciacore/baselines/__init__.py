"""Published ideas that make agents behave, or be credited, differently: one file per idea."""
