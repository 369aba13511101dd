"""What tests share: real sites and servers, judges, and ways to make things fail."""
