"""What a lecturer hands out and takes in."""
