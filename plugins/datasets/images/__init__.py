"""Where pictures were found until 0.2."""
