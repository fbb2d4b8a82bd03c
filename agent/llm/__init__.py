"""A language model as the expert: asking it, keeping what was asked and answered, and counting what it costs."""
