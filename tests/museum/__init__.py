"""Show the suite one planted fault after another: it must catch each."""
