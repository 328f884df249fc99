"""Ray pipelines from sources to samples."""
