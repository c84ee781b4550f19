"""Where public data was found until 0.2: ``docs/deprecations.md`` says where it is."""
