"""The bundled tasks, one folder each."""
