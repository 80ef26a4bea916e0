"""One host as a user meets it: a daemon in a network of its own, a neighbour outside, real containers, real packets."""
