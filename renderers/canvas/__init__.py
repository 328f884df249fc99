"""The reference, drawn: from a signal to canvas frames."""
