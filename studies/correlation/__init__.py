"""Parts of the study of proxy correlations."""
