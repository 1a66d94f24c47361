"""AWS behind the ports: tables, queues, topics and secrets."""
