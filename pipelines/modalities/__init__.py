"""The modalities: one file each, discovered by name. A new control is a new file here and a test beside it."""
