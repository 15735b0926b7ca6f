"""Speed and nothing else: without this folder the results are the same, only later.

Random draws may differ, since numpy and torch have generators of their own. The
environment variable CIACORE_FAST=0 switches everything here off.
"""
