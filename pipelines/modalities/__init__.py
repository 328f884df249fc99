"""The modalities: one file each, discovered by name. A new control is one new file here and its test."""
