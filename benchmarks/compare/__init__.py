"""DAgger against cloning at equal labels."""
