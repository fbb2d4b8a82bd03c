"""DAgger's own parts: rollouts, the data set they fill, what is asked, where episodes begin."""
