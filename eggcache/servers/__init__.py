"""What runs the application on this host: Apache, systemd, their configuration and environments."""
