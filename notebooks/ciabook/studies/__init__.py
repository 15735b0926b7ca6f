"""Studies as data, and the command that trains what is missing."""
