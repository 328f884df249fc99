"""A catalog in the browser: ``catalog serve`` for any size, ``catalog html`` for a folder to hand over."""
