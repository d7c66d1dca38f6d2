"""How an operator signs in, and what says afterwards who that is."""
