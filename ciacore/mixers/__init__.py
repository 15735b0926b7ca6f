"""The mixers that CIA is built on: (utilities, state) -> Mixed. One file each.

A new mixer is a new file here and one line in `ciacore.methods.MIXERS`.
"""
