"""How the studies write their results, where that takes more than a few lines."""
