"""A finished run put to use: masks, exports, explanations."""
