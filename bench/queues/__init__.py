"""Other durable queues on PostgreSQL, each as its documentation shows it, for a comparison alone."""
