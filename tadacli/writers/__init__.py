"""Results as text: rows (what is said of a video), formats (how rows become bytes), files (how they grow)."""
