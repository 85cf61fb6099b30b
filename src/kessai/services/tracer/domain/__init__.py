"""Pure rules of the tracer: what a verdict is, how it is sealed, how findings move, how a graph is drawn."""
