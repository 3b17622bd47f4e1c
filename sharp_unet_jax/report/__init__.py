"""Tables, figures and the page, from a sweep's records alone: files are read, no network is known."""
