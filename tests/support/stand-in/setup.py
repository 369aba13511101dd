"""A stand-in for PEAK-Rules, which TurboGears 1.1 requires and no index has: metadata and what is called."""

from setuptools import find_packages, setup

setup(
    name="PEAK-Rules",
    version="0.5a1.dev-r2713",  # as its author numbered snapshots; TurboJson 1.3.2 asks for >= 0.5a1.dev-r2600
    description="Stand-in for PEAK-Rules: enough for TurboGears 1.1 to start and to serve",
    packages=find_packages(),
    namespace_packages=["peak"],
    install_requires=["BytecodeAssembler>=0.6", "DecoratorTools>=1.7dev-r2450", "AddOns>=0.6", "Extremes>=1.1"],
    zip_safe=True,
)
