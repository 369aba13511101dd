"""What tests share: real sites and servers, judges, ways to make things fail. ROOT is the checkout that is tested."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
