"""Files: written whole, locked, and where a workdir has them."""
