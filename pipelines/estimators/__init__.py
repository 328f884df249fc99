"""From frames or sound to a signal: one file per estimator family."""
