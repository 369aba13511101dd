"""What runs the application on this host: Apache, its configuration and its environment."""
