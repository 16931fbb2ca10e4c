"""Parts of the study of what proxies cost."""
