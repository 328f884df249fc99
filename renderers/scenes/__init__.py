"""Scenes as data: what stands where, how it moves, and which cameras watch; plain NumPy, no Blender."""
