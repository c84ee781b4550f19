"""Where the protocols of the bundled tasks were found until 0.2: they are in ``plugins.tasks``, and ``docs/deprecations.md`` says where each part is."""
