"""Tables, figures and the page, made only from a sweep's records: files are read, no network is known."""
