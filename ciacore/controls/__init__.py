"""Terms that are experiments: they measure, or control for, what another term does.

The experiment on what wakes a team is made of them. One file holds one idea.
"""
