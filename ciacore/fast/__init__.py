"""Speed, and nothing but speed: without this folder the mathematics is the same, only later."""
