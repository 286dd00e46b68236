"""One clip on two devices that each have a copy of the model: a guidance branch each, or half of the tokens."""
