"""Tasks of lm-eval over the project's public data: the same files serve score_documents and lm-eval's own command line."""
