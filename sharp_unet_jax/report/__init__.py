"""What a sweep's records say. It reads files alone, and knows no model."""
